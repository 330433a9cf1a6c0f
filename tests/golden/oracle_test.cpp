#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "golden/reference_linear.h"
#include "golden/test_support.h"
#include "lowbit/formats/layout.h"

// Numbers worked out from the formulas of QuEST (arXiv 2502.05003) by other means, for the reference templates in double
// (1e-6 of the value) and in float (1e-4), unless exact. Codes and masks are exact in both.
namespace lowbit::golden {
namespace {

constexpr double kEverything = std::numeric_limits<double>::infinity();
/// |found - wanted| allowed: relative to the value, or to `scale` where the value is a sum that cancels.
template <class T>
double bound(double wanted, double scale = 0) {
  // The oracles are printed with ten digits at most, seven behind the point in places.
  const double printed = 6e-8;
  return (std::is_same_v<T, double> ? 1e-6 : 1e-4) * std::max(std::abs(wanted), scale) + printed;
}
#define EXPECT_ORACLE(found, wanted) \
  EXPECT_NEAR(static_cast<double>(found), wanted, (bound<TypeParam>(wanted)))
#define EXPECT_ORACLE_SCALED(found, wanted, scale) \
  EXPECT_NEAR(static_cast<double>(found), wanted, (bound<TypeParam>(wanted, scale)))

const Grid& grid_of(int bits) { return *find_grid(std::to_string(bits)); }

template <class T>
struct Oracle : testing::Test {};
using NumberTypes = testing::Types<double, float>;
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
    for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(reference::trusted(x[i], row.threshold), mask[i] == '1') << s << " " << i;
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
      for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(static_cast<double>(q.values[i] / step), wanted[i]) << bits << " " << i;
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
  for (std::size_t i = 0; i < z.size(); ++i) z[i] = static_cast<T>(normal_quantile((static_cast<double>(i) + .5) / 4096));
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

TYPED_TEST(Oracle, LayerExampleIsDrawnAndMultipliedExactly) {
  using T = TypeParam;
  const LayerExample<T> e;
  EXPECT_ORACLE(e.x[0], .4537932);
  EXPECT_ORACLE(e.x[1], -.3761081);
  EXPECT_ORACLE(e.x[2], -.4890440);
  EXPECT_ORACLE(e.w[0], .0318650);
  EXPECT_ORACLE(e.w[2 * 128 + 127], .0222381);
  const auto x = make_operand<T>(e.x, 128, nullptr, 128, kEverything), w = make_operand<T>(e.w, 128, nullptr, 128, kEverything);
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

TYPED_TEST(Oracle, LayerForwardAndBackward) {
  using T = TypeParam;
  const LayerExample<T> e;
  const std::vector<LayerOracle> oracles{
      {4, 16.0 / 15, {-37, -51}, {-27, -70, -48}, {0, 2}, {0, 1, 0},
       {-.1083116, .0104677, .1064582, -.0582585, .1698800, -.0498093}, .9408186, 18.8762921, {.0377323, -.0585146},
       {.1344013, 1.1968258}, .009473, .161476},
      {2, 4.0 / 3, {-52, -60}, {-54, -67, -57}, {7, 8}, {5, 10, 6},
       {-.0623308, -.0718411, .1187727, .0165830, .2047836, -.0258539}, .8470315, 17.3666942, {.0265152, -.0589946},
       {.1099288, 1.0759262}, .095837, .312989},
      {1, 1.30, {-61, -64}, {-61, -66, -60}, {41, 36}, {36, 32, 38},
       {0, .0263613, .0832027, .1064864, .1683206, -.2656305}, .6415718, 13.0907858, {.0271630, -.0083426},
       {.0197201, .6125260}, .313789, .458458},
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
                                                 std::span<const std::uint8_t>(w.codes).subspan(column * 128, 128), grid,
                                                 w.scales[column]));
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
      const auto all_x = make_operand<T>(e.x, 128, &grid, 128, kEverything), all_w = make_operand<T>(e.w, 128, &grid, 128, kEverything);
      std::vector<T> all_dx, all_dw(3 * 128);
      linear_backward<T>(all_x, all_w, e.dy, all_dx, all_dw);
      EXPECT_ORACLE(l2(all_dx), .9452104);
      EXPECT_ORACLE(l2(all_dw), 18.8864288);
    }
  }
}

TYPED_TEST(Oracle, RotationSpreadsAnOutlier) {
  using T = TypeParam;
  const LayerExample<T> e;
  struct Row {
    int bits;
    double rotated, plain;
  };
  for (const auto& row : {Row{4, .009473, .161476}, Row{2, .095837, .312989}, Row{1, .313789, .458458}, Row{8, .000074, .072031}})
    for (const int group : {128, 1}) {
      const std::vector<T> x(e.x.begin(), e.x.begin() + 128);
      const auto exact = make_operand<T>(x, 128, nullptr, group, 0), q = make_operand<T>(x, 128, &grid_of(row.bits), group, 1);
      const double error = distance(q.values, exact.values);
      EXPECT_NEAR(error * error, group == 1 ? row.plain : row.rotated, 6e-7) << row.bits << " " << group;
    }
}

TYPED_TEST(Oracle, FourBitProductAndItsBytes) {
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

TEST(OracleScale, HadamardScaleIsExactWhereBfloat16IsNot) {
  const bf16 rounded = to_bf16(reference::hadamard_scale<float>(128));
  EXPECT_EQ(to_float(rounded), 0.08837890625f);
  EXPECT_EQ(128.0 * static_cast<double>(to_float(rounded)) * static_cast<double>(to_float(rounded)), 0.999786376953125);
  const auto scale = static_cast<double>(reference::hadamard_scale<float>(128));
  EXPECT_NEAR(128 * scale * scale, 1, 1e-7);
}

TYPED_TEST(Oracle, FastFormsOfTheseTestsAreTheTemplates) {
  using T = TypeParam;
  const LayerExample<T> e;
  // Plain products, with widths that are no multiple of a tile.
  std::vector<T> c(7 * 5);
  const auto b = transposed(std::vector<T>(e.w.begin(), e.w.begin() + 5 * 13), 5, 13);
  product<T>(7, 5, 13, e.x.data(), 13, 1, b.data(), c.data());
  for (std::size_t i = 0; i < 7; ++i)
    for (std::size_t j = 0; j < 5; ++j)
      EXPECT_EQ(c[i * 5 + j], reference::product_a<T>(std::span(e.x).subspan(i * 13, 13), std::span(e.w).subspan(j * 13, 13)));
  for (const bool weight_only : {false, true}) {
    const Grid& grid = grid_of(2);
    const auto x = make_operand<T>(e.x, 128, weight_only ? nullptr : &grid, 128, 4.0 / 3 * grid.alpha);
    const auto w = make_operand<T>(e.w, 128, &grid, 128, 4.0 / 3 * grid.alpha);
    if (weight_only) {
      const auto y = linear_forward(x, w);
      for (std::size_t i = 0; i < 6; ++i)
        EXPECT_EQ(y[i], reference::wide_product<T>(std::span(x.values).subspan(i / 3 * 128, 128),
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
