#include <gtest/gtest.h>

#include <numeric>

#include "golden/oracle.h"
#include "lowbit/formats/layout.h"

namespace lowbit::golden {
namespace {

template <class T>
struct OracleLayer : testing::Test {};
TYPED_TEST_SUITE(OracleLayer, NumberTypes);

/// The pseudo-random layer of the oracle: X [2, 128] with one outlier, W [3, 128].
template <class T>
struct LayerExample {
  std::vector<T> x, w, dy{T(1), T(-.5), T(.25), T(-2), T(.75), T(1.5)};
  LayerExample() {
    std::int64_t state = 2072;
    const auto draw = [&state] {
      state = (1103515245 * state + 12345) % (std::int64_t{1} << 31);
      return 2.0 * static_cast<double>(state) / 2147483648.0 - 1;
    };
    std::vector<double> xs(256), ws(384);
    for (double& value : xs) value = draw();
    for (double& value : ws) value = draw() * 0.05;
    xs[5] += 6;
    x.assign(xs.begin(), xs.end());
    w.assign(ws.begin(), ws.end());
  }
};

template <class T>
double sum_of(const std::vector<T>& x) {
  double sum = 0;
  for (const T value : x) sum += static_cast<double>(value);
  return sum;
}

TYPED_TEST(OracleLayer, LayerExampleIsDrawnAndMultipliedExactly) {
  using T = TypeParam;
  const LayerExample<T> e;
  EXPECT_ORACLE(e.x[0], .4537932);
  EXPECT_ORACLE(e.x[1], -.3761081);
  EXPECT_ORACLE(e.x[2], -.4890440);
  EXPECT_ORACLE(e.w[0], .0318650);
  EXPECT_ORACLE(e.w[2 * 128 + 127], .0222381);
  const auto x = make_operand<T>(e.x, 128, nullptr, 128, kEverything),
             w = make_operand<T>(e.w, 128, nullptr, 128, kEverything);
  const double start[] = {.5019420, -1.1699515, .4287898, -.5529971};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_ORACLE(x.values[i], start[i]) << i;
  // Both rotations cancel.
  const double wanted[] = {-.1097029, .0258075, .1187645, -.0755506, .1788483, -.0362761};
  const auto y = linear_forward(x, w);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_ORACLE_SCALED(y[i], wanted[i], .1) << i;
}

struct LayerOracle {
  int bits;
  double trust;  ///< c
  std::vector<int> x_sums, w_sums;
  std::vector<long> x_masked, w_masked;
  std::vector<double> y;
  double dx_norm, dw_norm;
  std::vector<double> dx, dw;  ///< the first two of row 0
  double error, unrotated_error;
};

TYPED_TEST(OracleLayer, LayerForwardAndBackward) {
  using T = TypeParam;
  const LayerExample<T> e;
  const std::vector<LayerOracle> oracles{
      {4,
       16.0 / 15,
       {-37, -51},
       {-27, -70, -48},
       {0, 2},
       {0, 1, 0},
       {-.1083116, .0104677, .1064582, -.0582585, .1698800, -.0498093},
       .9408186,
       18.8762921,
       {.0377323, -.0585146},
       {.1344013, 1.1968258},
       .009473,
       .161476},
      {2,
       4.0 / 3,
       {-52, -60},
       {-54, -67, -57},
       {7, 8},
       {5, 10, 6},
       {-.0623308, -.0718411, .1187727, .0165830, .2047836, -.0258539},
       .8470315,
       17.3666942,
       {.0265152, -.0589946},
       {.1099288, 1.0759262},
       .095837,
       .312989},
      {1,
       1.30,
       {-61, -64},
       {-61, -66, -60},
       {41, 36},
       {36, 32, 38},
       {0, .0263613, .0832027, .1064864, .1683206, -.2656305},
       .6415718,
       13.0907858,
       {.0271630, -.0083426},
       {.0197201, .6125260},
       .313789,
       .458458},
  };
  for (const LayerOracle& o : oracles) {
    SCOPED_TRACE(o.bits);
    const Grid& grid = grid_of(o.bits);
    const auto x = make_operand<T>(e.x, 128, &grid, 128, o.trust * grid.alpha);
    const auto w = make_operand<T>(e.w, 128, &grid, 128, o.trust * grid.alpha);
    const auto expect_rows = [&](const Operand<T>& q, const std::vector<int>& sums, const std::vector<long>& masked) {
      for (std::size_t row = 0; row < q.rows; ++row) {
        const auto begin = q.codes.begin() + static_cast<long>(row * 128);
        EXPECT_EQ(std::accumulate(begin, begin + 128, 128 * grid.lowest()), sums[row]) << row;
        const auto mask = q.trusted.begin() + static_cast<long>(row * 128);
        EXPECT_EQ(std::count(mask, mask + 128, 0), masked[row]) << row;
      }
    };
    expect_rows(x, o.x_sums, o.x_masked);
    expect_rows(w, o.w_sums, o.w_masked);
    const auto y = linear_forward(x, w);
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_ORACLE_SCALED(y[i], o.y[i], .1) << i;
      const std::size_t row = i / 3, column = i % 3;
      const std::span<const std::uint8_t> codes(x.codes);
      EXPECT_EQ(y[i], reference::code_product<T>(codes.subspan(row * 128, 128), grid, x.scales[row],
                                                 std::span<const std::uint8_t>(w.codes).subspan(column * 128, 128),
                                                 grid, w.scales[column]));
    }
    std::vector<T> dx, dw(3 * 128);
    linear_backward<T>(x, w, e.dy, dx, dw);
    EXPECT_ORACLE(l2(dx), o.dx_norm);
    EXPECT_ORACLE(l2(dw), o.dw_norm);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_ORACLE_SCALED(dx[i], o.dx[i], .1) << i;
      EXPECT_ORACLE_SCALED(dw[i], o.dw[i], 1) << i;
    }
    if (o.bits == 4) {
      EXPECT_ORACLE_SCALED(sum_of(dx), -.0939091, 1);
      EXPECT_ORACLE_SCALED(sum_of(dw), 7.0852443, 10);
      const int start[] = {2, -5, 1, -3, 0, 1, -4, -3};
      for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(int{x.codes[i]} - 8, start[i]) << i;
      // With every entry trusted.
      const auto all_x = make_operand<T>(e.x, 128, &grid, 128, kEverything),
                 all_w = make_operand<T>(e.w, 128, &grid, 128, kEverything);
      std::vector<T> all_dx, all_dw(3 * 128);
      linear_backward<T>(all_x, all_w, e.dy, all_dx, all_dw);
      EXPECT_ORACLE(l2(all_dx), .9452104);
      EXPECT_ORACLE(l2(all_dw), 18.8864288);
    }
  }
}

TYPED_TEST(OracleLayer, RotationSpreadsAnOutlier) {
  using T = TypeParam;
  const LayerExample<T> e;
  struct Row {
    int bits;
    double rotated, plain;
  };
  for (const auto& row :
       {Row{4, .009473, .161476}, Row{2, .095837, .312989}, Row{1, .313789, .458458}, Row{8, .000074, .072031}})
    for (const int group : {128, 1}) {
      const std::vector<T> x(e.x.begin(), e.x.begin() + 128);
      const auto exact = make_operand<T>(x, 128, nullptr, group, 0),
                 q = make_operand<T>(x, 128, &grid_of(row.bits), group, 1);
      const double error = distance(q.values, exact.values);
      EXPECT_NEAR(error * error, group == 1 ? row.plain : row.rotated, 6e-7) << row.bits << " " << group;
    }
}

TYPED_TEST(OracleLayer, FourBitProductAndItsBytes) {
  using T = TypeParam;
  const std::vector<T> a{T(.3), T(-.8), T(1.1), T(2), T(0), T(.5), T(-.5), T(-3)};
  const std::vector<T> w{T(.02), T(-.05), T(.01), T(.04), T(-.03), T(0), T(.06), T(-.01)};
  const Grid& grid = grid_of(4);
  const auto qa = make_operand<T>(a, 4, &grid, 1, kEverything), qw = make_operand<T>(w, 4, &grid, 1, kEverything);
  const int k_a[] = {0, -2, 2, 4, 0, 0, -1, -6}, k_w[] = {1, -5, 0, 3, -3, 0, 5, -1};
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(int{qa.codes[i]} - 8, k_a[i]) << i;
    EXPECT_EQ(int{qw.codes[i]} - 8, k_w[i]) << i;
  }
  EXPECT_ORACLE(2 * qa.scales[0], .40846538);
  EXPECT_ORACLE(2 * qa.scales[1], .51656364);
  EXPECT_ORACLE(2 * qw.scales[0], .01136688);
  EXPECT_ORACLE(2 * qw.scales[1], .01136688);
  const double wanted[] = {.11375295, .04410829, -.12330607, -.00587172};
  const auto y = linear_forward(qa, qw);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_ORACLE(y[i], wanted[i]) << i;
  // The oracle packs two's complement, lowbit's canonical layout k + 8: the top bit of each half differs.
  const auto bytes = [&](const Operand<T>& q, std::size_t row) {
    std::vector<std::uint8_t> packed(2);
    pack_canonical(grid, std::span(q.codes).subspan(row * 4, 4), packed);
    return std::vector<int>{packed[0] ^ 0x88, packed[1] ^ 0x88};
  };
  EXPECT_EQ(bytes(qa, 0), (std::vector<int>{224, 66}));
  EXPECT_EQ(bytes(qa, 1), (std::vector<int>{0, 175}));
  EXPECT_EQ(bytes(qw, 0), (std::vector<int>{177, 48}));
  EXPECT_EQ(bytes(qw, 1), (std::vector<int>{13, 245}));
}

TYPED_TEST(OracleLayer, FastFormsOfTheseTestsAreTheTemplates) {
  using T = TypeParam;
  const LayerExample<T> e;
  // Plain products, with widths that are no multiple of a tile.
  std::vector<T> c(7 * 5);
  const auto b = transposed(std::vector<T>(e.w.begin(), e.w.begin() + 5 * 13), 5, 13);
  product<T>(7, 5, 13, e.x.data(), 13, 1, b.data(), c.data());
  for (std::size_t i = 0; i < 7; ++i)
    for (std::size_t j = 0; j < 5; ++j)
      EXPECT_EQ(c[i * 5 + j],
                reference::product_a<T>(std::span(e.x).subspan(i * 13, 13), std::span(e.w).subspan(j * 13, 13)));
  for (const bool weight_only : {false, true}) {
    const Grid& grid = grid_of(2);
    const auto x = make_operand<T>(e.x, 128, weight_only ? nullptr : &grid, 128, 4.0 / 3 * grid.alpha);
    const auto w = make_operand<T>(e.w, 128, &grid, 128, 4.0 / 3 * grid.alpha);
    if (weight_only) {
      const auto y = linear_forward(x, w);
      for (std::size_t i = 0; i < 6; ++i)
        EXPECT_EQ(y[i],
                  reference::wide_product<T>(std::span(x.values).subspan(i / 3 * 128, 128),
                                             std::span(w.codes).subspan(i % 3 * 128, 128), grid, w.scales[i % 3]));
    }
    std::vector<T> dx, dw(w.values.size()), plain_dx(x.values.size()), plain_dw(w.values.size());
    linear_backward<T>(x, w, e.dy, dx, dw);
    reference::linear_backward<T>(
        2, 3, 128, e.dy, x.values, w.values,
        [&](std::size_t row, std::size_t i) { return weight_only || x.trusted[row * 128 + i]; }, 128,
        [&](std::size_t row, std::size_t i) { return w.trusted[row * 128 + i] != 0; }, 128, plain_dx, plain_dw);
    const double bound = std::is_same_v<T, double> ? 1e-14 : 1e-6;
    EXPECT_LE(distance(dx, plain_dx), bound);
    EXPECT_LE(distance(dw, plain_dw), bound);
  }
}

}  // namespace
}  // namespace lowbit::golden
