#include <gtest/gtest.h>

#include <numeric>

#include "golden/oracle.h"

namespace lowbit::golden {
namespace {

template <class T>
struct Oracle : testing::Test {};
TYPED_TEST_SUITE(Oracle, NumberTypes);

template <class T>
std::vector<T> rotated(std::vector<double> x, int group) {
  std::vector<T> out(x.begin(), x.end());
  reference::hadamard_row<T>(out, group);
  return out;
}

TYPED_TEST(Oracle, HadamardOfFourAndEight) {
  using T = TypeParam;
  const auto expect = [](std::vector<double> x, std::vector<double> wanted) {
    const auto found = rotated<T>(x, static_cast<int>(x.size()));
    for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_ORACLE_SCALED(found[i], wanted[i], wanted[0]) << i;
  };
  expect({1, 2, 3, 4}, {5, -1, -2, 0});
  expect({1, 2, 3, 4, 5, 6, 7, 8}, {12.72792206, -1.41421356, -2.82842712, 0, -5.65685425, 0, 0, 0});
  expect({3, -1, 0, 2, -2, 5, 1, -4},
         {1.41421356, 0, 2.12132034, -2.12132034, 1.41421356, 1.41421356, -2.12132034, 6.36396103});
}

TYPED_TEST(Oracle, HadamardOfARampAndOfAUnitVector) {
  std::vector<double> ramp(128);
  std::iota(ramp.begin(), ramp.end(), 0);
  const auto found = rotated<TypeParam>(ramp, 128);
  for (std::size_t i = 0; i < 128; ++i) {
    const bool power = i && (i & (i - 1)) == 0;
    EXPECT_ORACLE_SCALED(found[i], i == 0 ? 718.420490 : power ? -5.656854 * static_cast<double>(i) : 0.0, 718) << i;
  }
  std::vector<double> unit(128, 0.0);
  unit[5] = 1;
  const auto row = rotated<TypeParam>(unit, 128);
  for (std::size_t i = 0; i < 128; ++i) {
    EXPECT_ORACLE(std::abs(row[i]), 0.0883883476);
    EXPECT_EQ(row[i] < 0, std::popcount(i & 5) % 2 == 1) << i;
  }
}

struct CodedExample {
  int bits;
  double step;
  std::vector<int> k;
  std::string mask;
  double squared_error;
};

TYPED_TEST(Oracle, CodesAndMasksOfARow) {
  using T = TypeParam;
  const std::vector<T> x{T(0.1), T(-0.45), T(0.75), T(1.3), T(-2.2), T(0.05), T(3.0), T(-0.9)};
  const std::vector<CodedExample> examples{
      {1, 2.33423854, {0, -1, 0, 0, -1, 0, 0, -1}, "11111101", 7.59025190},
      {2, 1.45646218, {0, -1, 0, 0, -2, 0, 1, -1}, "11111101", 1.95394174},
      {3, 0.85721007, {0, -1, 0, 1, -3, 0, 3, -2}, "11111111", 0.50737621},
      {4, 0.49030598, {0, -1, 1, 2, -5, 0, 6, -2}, "11111111", 0.16891792},
      {8, 0.04457067, {2, -11, 16, 29, -50, 1, 67, -21}, "11111111", 0.00147046},
  };
  for (const auto& example : examples) {
    SCOPED_TRACE(example.bits);
    const Grid& grid = grid_of(example.bits);
    const auto q = make_operand<T>(x, 8, &grid, 1, grid.trust_edge * grid.alpha);
    EXPECT_ORACLE(2 * q.scales[0], example.step);
    double squared_error = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(int{q.codes[i]} + grid.lowest(), example.k[i]) << i;
      EXPECT_EQ(q.trusted[i], example.mask[i] - '0') << i;
      EXPECT_ORACLE(q.values[i], (example.k[i] + 0.5) * example.step) << i;
      const double error = static_cast<double>(q.values[i]) - static_cast<double>(x[i]);
      squared_error += error * error;
    }
    EXPECT_ORACLE(squared_error, example.squared_error);
  }
}

TYPED_TEST(Oracle, OuterTrustAtOneBit) {
  using T = TypeParam;
  const std::vector<T> x{T(0.1), T(-0.45), T(0.75), T(1.3), T(-2.2), T(0.05), T(3.0), T(-0.9)};
  struct Outer {
    double s, threshold;
    std::string mask;
  };
  // s = 1 cuts at 1.167: 1.3, -2.2 and 3.0 lie outside. With 1.25 and more 1.3 is trusted; 2 trusts -2.2 too.
  for (const auto& [s, threshold, mask] : {Outer{1.00, 1.16711926, "11100101"}, Outer{1.25, 1.45889907, "11110101"},
                                           Outer{1.30, 1.51725504, "11110101"}, Outer{2.00, 2.33423852, "11111101"}}) {
    std::vector<std::uint8_t> codes(8);
    const auto row = reference::code_row<T>(x, grid_of(1), s * grid_of(1).alpha, codes.data());
    EXPECT_ORACLE(row.threshold, threshold);
    for (std::size_t i = 0; i < 8; ++i)
      EXPECT_EQ(reference::trusted(x[i], row.threshold), mask[i] == '1') << s << " " << i;
  }
}

TYPED_TEST(Oracle, AbsmaxScalesByTheLargestMagnitude) {
  using T = TypeParam;
  const std::vector<T> x{T(0.1), T(-0.45), T(0.75), T(1.3), T(-2.2), T(0.05), T(3.0), T(-0.9)};
  const auto values = [&](int bits) {
    return make_operand<T>(x, 8, SideCoding{&grid_of(bits), kEverything, ScaleRule::absmax}, 1);
  };
  const std::vector<double> four{.2, -.6, .6, 1.4, -2.2, .2, 3.0, -1.0}, two{1, -1, 1, 1, -3, 1, 3, -1};
  EXPECT_ORACLE(2 * values(4).scales[0], 0.4);
  EXPECT_ORACLE(2 * values(2).scales[0], 2);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_ORACLE(values(4).values[i], four[i]) << i;
    EXPECT_ORACLE(values(2).values[i], two[i]) << i;
    EXPECT_EQ(values(4).trusted[i], 1) << i;
  }
}

TYPED_TEST(Oracle, TwoOfFourPairsSurvive) {
  using T = TypeParam;
  const std::vector<double> z{.5,  -.1, 2,  .3, -.2, .2,  -1.5, 1,   //
                              .05, 0,   -3, .1, .4,  -.4, .9,   .8};
  const std::vector<double> wanted{0, 0, 1.980341,  .180031, 0, 0, -1.620279, .900155,
                                   0, 0, -2.700465, .180031, 0, 0, .900155,   .900155};
  const std::string mask = "0111001111010011";
  const std::vector<T> x(z.begin(), z.end());
  Scheme scheme;
  scheme.format = parse_format("w4a4+2:4");
  const auto q = make_operand<T>(x, 16, scheme.block_side(*scheme.format.weight), 1);
  EXPECT_ORACLE(2 * q.scales[0], .36006199);
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_NEAR(static_cast<double>(q.values[i]), wanted[i], 1e-6) << i;
    EXPECT_EQ(reference::is_pruned(*q.grid, q.codes[i]), wanted[i] == 0) << i;
    EXPECT_EQ(q.trusted[i], mask[i] - '0') << i;
  }
  // Clip and ste do not ask what became of an entry.
  scheme.estimator = Estimator::clip;
  const auto clipped = make_operand<T>(x, 16, scheme.block_side(*scheme.format.weight), 1);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(clipped.trusted[i], i != 10) << i;
  // The least squared error that codes and pairs as they are allow.
  scheme.sparse_scale = SparseScale::refit;
  const auto refit = make_operand<T>(x, 16, scheme.block_side(*scheme.format.weight), 1);
  const auto error = [&](double h) {
    double sum = 0;
    for (std::size_t i = 0; i < 16; ++i)
      sum += std::pow(refit.grid->value_of_code(refit.codes[i]) * h - (q.values[i] == 0 ? 0 : z[i]), 2);
    return sum;
  };
  const double best = static_cast<double>(refit.scales[0]);
  EXPECT_EQ(refit.codes, q.codes);
  EXPECT_LT(error(best), error(static_cast<double>(q.scales[0])));
  EXPECT_LE(error(best), error(best * 1.001));
  EXPECT_LE(error(best), error(best * 0.999));
}

TYPED_TEST(Oracle, Fp4TakesTheNearestLevelAndEitherThreshold) {
  using T = TypeParam;
  const std::vector<T> x{T(10), T(-.3), T(.2), T(5), T(-1), T(.7), T(.1), T(-.2)};
  const std::vector<double> wanted{11.629023, 0, 0, 5.814511, -.969085, .969085, 0, 0};
  Scheme scheme;
  scheme.format = parse_format("fp4");
  const auto paper = make_operand<T>(x, 8, scheme.block_side(kE2m1Grid), 1);
  scheme.fp4_threshold = Fp4Threshold::code;
  const auto code = make_operand<T>(x, 8, scheme.block_side(kE2m1Grid), 1);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(static_cast<double>(paper.values[i]), wanted[i], 1e-6 * 12) << i;
    EXPECT_EQ(paper.codes[i], code.codes[i]);
    EXPECT_EQ(paper.trusted[i], 1) << i;
    EXPECT_EQ(code.trusted[i], i != 0) << i;  // its error is .40939 r
  }
}

TYPED_TEST(Oracle, ATieBetweenLevelsGoesToTheLowerOne) {
  using T = TypeParam;
  // E2M1 is handed -2 x / h. Halfway between o and o' it is -(o + o'), exactly.
  constexpr int kLevels[] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
  for (std::size_t i = 0; i + 1 < std::size(kLevels); ++i) {
    const T tie = static_cast<T>(-(kLevels[i] + kLevels[i + 1]));
    const T above = std::nextafter(tie, T(-100)), below = std::nextafter(tie, T(100));
    EXPECT_EQ(reference::code_of(tie, kE2m1Grid), kLevels[i] + 12);
    EXPECT_EQ(reference::code_of(below, kE2m1Grid), kLevels[i] + 12);
    EXPECT_EQ(reference::code_of(above, kE2m1Grid), kLevels[i + 1] + 12);
  }
  for (const Grid& grid : kGaussianGrids)
    for (int u = 0; u + 1 < grid.levels; ++u) {
      const T tie = reference::table_edge<T>(grid, u);
      EXPECT_EQ(reference::code_of(tie, grid), u);
      EXPECT_EQ(reference::code_of(tie == T{0} ? T(1e-30) : std::nextafter(tie, T(9)), grid), u + 1);
    }
}

TYPED_TEST(Oracle, CellEdgesBelongToTheCellAbove) {
  using T = TypeParam;
  // A row whose step is a power of two exactly, so that x / step can be whole: found by trying fillers and widths.
  for (const int bits : {4, 3, 2}) {
    const Grid& grid = grid_of(bits);
    for (const T step : {T(0.25), T(0.5), T(1), T(2), T(4)}) {
      std::vector<T> x{-2 * step, -1 * step, 0, step, 2 * step, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
      const auto coded = [&](T filler) {
        std::fill(x.begin() + 5, x.end(), filler);
        return make_operand<T>(x, x.size(), &grid, 1, kEverything);
      };
      T low = 0, high = 100 * step;
      for (int i = 0; i < 80; ++i) {
        const T middle = (low + high) / 2;
        (coded(middle).scales[0] < step / 2 ? low : high) = middle;
      }
      const auto q = coded(high);
      if (q.scales[0] != step / 2) continue;
      const double wanted[] = {bits > 2 ? -1.5 : -1.5, -.5, .5, 1.5, bits > 2 ? 2.5 : 1.5};
      for (std::size_t i = 0; i < 5; ++i)
        EXPECT_EQ(static_cast<double>(q.values[i] / step), wanted[i]) << bits << " " << i;
      if (bits > 2) return;
    }
  }
  FAIL() << "no row has a step that is a power of two: nothing was tested";
}

/// The inverse of the normal distribution function, by Newton's method.
double normal_quantile(double p) {
  double z = 0;
  for (int i = 0; i < 60; ++i) {
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * M_PI);
    const double error = std::erfc(-z / std::sqrt(2.0)) / 2 - p;
    z -= std::clamp(error / density, -0.5, 0.5);
  }
  return z;
}

TYPED_TEST(Oracle, SquaredErrorAndMaskOnANormalSample) {
  using T = TypeParam;
  std::vector<T> z(4096);
  for (std::size_t i = 0; i < z.size(); ++i)
    z[i] = static_cast<T>(normal_quantile((static_cast<double>(i) + .5) / 4096));
  EXPECT_ORACLE(math::sqrt(reference::sum_of_squares<T>(z) / T(4096)), .9998397110);
  struct Row {
    int bits;
    double mse;
    int masked;
  };
  for (const auto& [bits, mse, masked] : {Row{1, .36312322, 454}, Row{2, .11864445, 190}, Row{3, .03728248, 78},
                                          Row{4, .01142244, 30}, Row{8, .00007762, 0}}) {
    const Grid& grid = grid_of(bits);
    const auto q = make_operand<T>(z, z.size(), &grid, 1, grid.trust_edge * grid.alpha);
    double sum = 0;
    for (std::size_t i = 0; i < z.size(); ++i) {
      const double error = static_cast<double>(q.values[i]) - static_cast<double>(z[i]);
      sum += error * error;
    }
    EXPECT_ORACLE(sum / 4096, mse) << bits;
    EXPECT_EQ(std::count(q.trusted.begin(), q.trusted.end(), 0), masked) << bits;
  }
}

TEST(OracleGrids, SquaredErrorAndMaskOnTheNormalDistribution) {
  // The integral of (x - q)^2 over a cell [a, b] of the density phi.
  const auto phi = [](double x) { return std::isinf(x) ? 0.0 : std::exp(-x * x / 2) / std::sqrt(2 * M_PI); };
  const auto upper = [](double x) { return std::erfc(x / std::sqrt(2.0)) / 2; };
  const auto cell = [&](double a, double b, double q) {
    const double mass = upper(a) - upper(b), mean = phi(a) - phi(b);
    const double square = mass + (std::isinf(a) ? 0 : a * phi(a)) - (std::isinf(b) ? 0 : b * phi(b));
    return square - 2 * q * mean + q * q * mass;
  };
  struct Row {
    std::string_view name;
    double mse, masked;
  };
  for (const auto& [name, mse, masked] :
       {Row{"1", 0.3633802276, 0.110540}, Row{"1.58", 0.1901740393, 0.066356}, Row{"2", 0.1188460504, 0.046439},
        Row{"3", 0.0374396594, 0.019074}, Row{"4", 0.0115428845, 0.0073287}, Row{"5", 0.0034952114, 0.0026111},
        Row{"6", 0.0010400476, 0.00087282}, Row{"7", 0.0003043660, 0.00028408}, Row{"8", 0.0000878216, 0.000096124}}) {
    const Grid& grid = *find_grid(name);
    const double h = grid.zero_is_level ? grid.alpha : grid.alpha / (grid.levels - 1);
    double sum = 0;
    for (int u = 0; u < grid.levels; ++u) {
      const double q = grid.value_of_code(u) * h, half = grid.multiplier() * h / 2;
      sum += cell(u == 0 ? -kEverything : q - half, u == grid.levels - 1 ? kEverything : q + half, q);
    }
    EXPECT_NEAR(sum, mse, 2e-10) << name;
    EXPECT_NEAR(2 * upper(grid.trust_edge * grid.alpha) / masked, 1, 2e-5) << name;
  }
  const double alpha = find_grid("1")->alpha;
  EXPECT_NEAR(2 * upper(1.30 * alpha), 0.29961940, 1e-8);
  EXPECT_NEAR(2 * upper(1.25 * alpha), 0.31859190, 2e-8);
}

TEST(OracleScale, HadamardScaleIsExactWhereBfloat16IsNot) {
  const bf16 rounded = to_bf16(reference::hadamard_scale<float>(128));
  EXPECT_EQ(to_float(rounded), 0.08837890625f);
  EXPECT_EQ(128.0 * static_cast<double>(to_float(rounded)) * static_cast<double>(to_float(rounded)), 0.999786376953125);
  const auto scale = static_cast<double>(reference::hadamard_scale<float>(128));
  EXPECT_NEAR(128 * scale * scale, 1, 1e-7);
}

}  // namespace
}  // namespace lowbit::golden
