#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "golden/oracle.h"

namespace lowbit::golden {
namespace {

template <class T>
class OracleLearned : public testing::Test {};
TYPED_TEST_SUITE(OracleLearned, NumberTypes);

/// O10: a row under LSQ with D = 0.5.
struct LearnedRow {
  int bits;
  std::array<double, 6> out;
  std::array<int, 6> passes;
  double scale, gradient;  ///< 1 / sqrt(entries * q_max), and that times the sum for dY = 1
};

TYPED_TEST(OracleLearned, StepsOfLsqTheirMasksAndGradients) {
  using T = TypeParam;
  const std::array<double, 6> row{.3, -1.7, 2.6, .05, -5, 9};
  const std::vector<T> x(row.begin(), row.end());
  const std::array<double, 6> raw{-.1, -.1, .3, .4, -7.5, 7.5};
  for (const LearnedRow& o :
       {LearnedRow{4, {.25, -1.75, 2.75, .25, -3.75, 3.75}, {1, 1, 1, 1, 0, 0}, .15430335, .07715167},
        LearnedRow{2, {.25, -.75, .75, .25, -.75, .75}, {1, 0, 0, 1, 0, 0}, .40824829, .12247449}}) {
    const Grid& grid = grid_of(o.bits);
    Scheme scheme;
    scheme.estimator = Estimator::lsq;
    SideCoding side = scheme.block_side(grid);
    side.step = 0.5;
    std::array<std::uint8_t, 6> codes;
    const auto coded = reference::code_row<T>(x, side, codes.data());
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(static_cast<double>(static_cast<T>(grid.value(codes[i])) * coded.scale), o.out[i])
          << o.bits << " " << i;
      EXPECT_EQ(reference::trusted(x[i], coded, false), o.passes[i] == 1) << o.bits << " " << i;
      std::vector<T> g(x.size(), T{0});
      g[i] = 1;
      const T entry = reference::step_gradient_row<T>(g, x, codes.data(), grid, T{0.5}, false);
      if (o.bits == 4) {
        EXPECT_ORACLE(entry, raw[i]) << i;
      }
      sum += static_cast<double>(entry);
    }
    const double scale = 1 / std::sqrt(6.0 * grid.highest());
    EXPECT_ORACLE(scale, o.scale);
    EXPECT_NEAR(scale * sum, o.gradient, bound<T>(o.gradient, 1));
  }
}

TYPED_TEST(OracleLearned, FirstStepsOfLsqAndLsqPlus) {
  const std::array<double, 6> x{.3, -1.7, 2.6, .05, -5, 9};
  double magnitudes = 0, squares = 0;
  for (const double v : x) {
    magnitudes += std::abs(v);
    squares += v * v;
  }
  EXPECT_ORACLE(2 * magnitudes / 6 / std::sqrt(grid_of(4).highest()), 2.34967914);
  EXPECT_ORACLE(2 * (grid_of(4).alpha * std::sqrt(squares / 6) + 1e-8) / 15, 1.47218647);
}

}  // namespace
}  // namespace lowbit::golden
