#include "kernels/code_oracles.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>

namespace lowbit::kernels::test {
namespace {

void expect_hadamard(const std::vector<double>& x, const std::vector<double>& expected) {
  const int group = static_cast<int>(x.size());
  std::vector<double> y = x;
  reference::hadamard_row<double>(y, group);
  for (std::size_t i = 0; i < y.size(); ++i)
    expect_near(y[i], expected[i], kTight, "in double at " + std::to_string(i));
  on_every_isa([&] {
    SerialExecutor serial;
    const std::vector<float> in(x.begin(), x.end());
    std::vector<float> out(x.size());
    rotate_rows(serial, group, 1, x.size(), in.data(), x.size(), out.data(), x.size());
    for (std::size_t i = 0; i < y.size(); ++i) expect_near_float(out[i], expected[i], "at " + std::to_string(i));
  });
}

TEST(OracleO1, HadamardTransformsOfFourAndEight) {
  expect_hadamard({1, 2, 3, 4}, {5, -1, -2, 0});
  expect_hadamard({1, 2, 3, 4, 5, 6, 7, 8}, {12.72792206, -1.41421356, -2.82842712, 0, -5.65685425, 0, 0, 0});
  expect_hadamard({3, -1, 0, 2, -2, 5, 1, -4},
                  {1.41421356, 0, 2.12132034, -2.12132034, 1.41421356, 1.41421356, -2.12132034, 6.36396103});
}

TEST(OracleO2, HadamardTransformOf128OfARampAndOfAUnitVector) {
  std::vector<double> ramp(128), expected(128, 0.0);
  std::iota(ramp.begin(), ramp.end(), 0.0);
  expected[0] = 718.420490;
  for (int k = 0; k <= 6; ++k) expected[std::size_t{1} << k] = -5.656854249 * (1 << k);
  expect_hadamard(ramp, expected);
  EXPECT_NEAR(expected[64], -362.038672, 1e-6);

  std::vector<double> unit(128, 0.0);
  unit[5] = 1;
  for (std::size_t i = 0; i < 128; ++i) expected[i] = 0.08838834765 * (std::popcount(i & 5) % 2 ? -1 : 1);
  const std::string signs = "+-+--+-+";
  for (std::size_t i = 0; i < signs.size(); ++i) EXPECT_EQ(signs[i], expected[i] < 0 ? '-' : '+');
  expect_hadamard(unit, expected);
}

const std::vector<double> kO3{0.1, -0.45, 0.75, 1.3, -2.2, 0.05, 3.0, -0.9};

TEST(OracleO3, CodesMasksAndErrorsOfARowWithoutRotation) {
  struct Case {
    int bits;
    double step;
    std::vector<int> k;
    std::string mask;
    double error;
  };
  const Case cases[] = {{1, 2.33423854, {0, -1, 0, 0, -1, 0, 0, -1}, "11111101", 7.59025190},
                        {2, 1.45646218, {0, -1, 0, 0, -2, 0, 1, -1}, "11111101", 1.95394174},
                        {3, 0.85721007, {0, -1, 0, 1, -3, 0, 3, -2}, "11111111", 0.50737621},
                        {4, 0.49030598, {0, -1, 1, 2, -5, 0, 6, -2}, "11111111", 0.16891792},
                        {8, 0.04457067, {2, -11, 16, 29, -50, 1, 67, -21}, "11111111", 0.00147046}};
  for (const Case& c : cases) {
    const Grid& grid = grid_of_bits(c.bits);
    in_double_and_by_every_kernel(kO3, 1, grid, grid.trust_edge * grid.alpha, 1,
                                  [&](const Coded& coded, double tolerance) {
                                    expect_near(2 * coded.scale[0], c.step, tolerance);
                                    EXPECT_EQ(coded.k, c.k);
                                    EXPECT_EQ(bits(coded.mask), c.mask);
                                    expect_near(squared_error(kO3, coded, 8), c.error,
                                                10 * tolerance);  // a difference of nearly equal numbers, squared
                                  });
  }
}

TEST(OracleO3, MasksOfTheOuterRuleAtOneBit) {
  const Grid& grid = grid_of_bits(1);
  for (const auto& [outer, mask] :
       {std::pair(1.0, "11100101"), {1.25, "11110101"}, {1.30, "11110101"}, {2.0, "11111101"}})
    in_double_and_by_every_kernel(kO3, 1, grid, outer * grid.alpha, 1,
                                  [&](const Coded& coded, double) { EXPECT_EQ(bits(coded.mask), mask); });
}

// x / step = -2, -1, 0, 1, 2: cells are closed below. A sixth entry is sought that makes the step exactly 1.
TEST(OracleO5, EntriesOnACellEdgeBelongToTheCellAbove) {
  on_every_isa([] {
    for (const int bit_count : {3, 4, 5, 6}) {
      const Grid& grid = grid_of_bits(bit_count);
      const double r = (grid.levels - 1) / (2 * grid.alpha);
      std::vector<double> x{-2, -1, 0, 1, 2, std::sqrt(6 * r * r - 10)};
      float low = static_cast<float>(x[5]) * 0.999f, high = static_cast<float>(x[5]) * 1.001f;
      Coded coded;
      for (int i = 0; i < 60; ++i) {
        const float middle = low + (high - low) / 2;
        x[5] = static_cast<double>(middle);
        coded = code_by_kernel(x, 1, grid, 1.0, 1);
        if (coded.scale[0] == 0.5) break;
        (coded.scale[0] < 0.5 ? low : high) = middle;
      }
      ASSERT_EQ(coded.scale[0], 0.5) << "no entry makes the step 1 for grid " << grid.name;
      const std::vector<double> expected{-1.5, -0.5, 0.5, 1.5, 2.5};
      for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(coded.value[i], expected[i]) << "grid " << grid.name << " at " << i;
    }
  });
}

// The inverse of the normal distribution function, by Newton's method on erfc, from both tails.
double inverse_normal(double p) {
  if (p > 0.5) return -inverse_normal(1 - p);
  double z = -std::sqrt(-2 * std::log(p)) * 0.8;
  for (int i = 0; i < 100; ++i) {
    const double cdf = 0.5 * std::erfc(-z / std::sqrt(2.0)), density = std::exp(-z * z / 2) / std::sqrt(2 * M_PI);
    const double step = (cdf - p) / density;
    z -= std::clamp(step, -0.5, 0.5);
    if (std::abs(step) < 1e-15) break;
  }
  return z;
}

TEST(OracleO6, ErrorsAndMaskedCountsOfTheDeterministicNormalSample) {
  std::vector<double> z(4096);
  double squares = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    z[i] = inverse_normal((static_cast<double>(i) + 0.5) / 4096);
    squares += z[i] * z[i];
  }
  ASSERT_NEAR(std::sqrt(squares / 4096), 0.9998397110, 1e-9);
  struct Case {
    int bits;
    double error;
    int masked;
  };
  for (const Case& c :
       {Case{1, .36312322, 454}, {2, .11864445, 190}, {3, .03728248, 78}, {4, .01142244, 30}, {8, .00007762, 0}}) {
    const Grid& grid = grid_of_bits(c.bits);
    in_double_and_by_every_kernel(z, 1, grid, grid.trust_edge * grid.alpha, 1,
                                  [&](const Coded& coded, double tolerance) {
                                    expect_near(squared_error(z, coded, z.size()) / 4096, c.error, tolerance);
                                    EXPECT_EQ(std::count(coded.mask.begin(), coded.mask.end(), false), c.masked);
                                  });
  }
}

}  // namespace
}  // namespace lowbit::kernels::test
