#include "lowbit/formats/gaussian.h"

#include <gtest/gtest.h>

#include <cmath>

#include "lowbit/base/rng.h"
#include "lowbit/kernels/reference.h"

namespace lowbit {
namespace {

TEST(Gaussian, ErrorsAndMaskedSharesOfEveryGridAreThePublishedTables) {
  // Mean square error at the alpha in use, and P(mask = 0), on N(0, 1), integrated numerically. Ternary has its own
  // grid there.
  constexpr struct {
    std::string_view grid;
    double error, masked;
  } kTable[] = {{"1", .3633802276, .110540},   {"1.58", .1901740393, .066356}, {"2", .1188460504, .046439},
                {"3", .0374396594, .019074},   {"4", .0115428845, .0073287},   {"5", .0034952114, .0026111},
                {"6", .0010400476, .00087282}, {"7", .0003043660, .00028408},  {"8", .0000878216, .000096124}};
  for (const auto& row : kTable) {
    const Grid& grid = *find_grid(row.grid);
    EXPECT_NEAR(gaussian_error(grid), row.error, 1e-9) << row.grid;
    EXPECT_NEAR(gaussian_masked_share(grid.trust_edge * grid.alpha) / row.masked, 1, 1e-4) << row.grid;
  }
}

TEST(Gaussian, ErrorsAndMaskedSharesOfFp4AndOfTables) {
  EXPECT_NEAR(gaussian_error(kE2m1Grid), .0126849041, 1e-10);
  EXPECT_NEAR(gaussian_error(kGaussianGrids[1]), .117481848, 1e-9);
  EXPECT_NEAR(gaussian_error(kGaussianGrids[2]), .0346797561, 1e-9);
  EXPECT_NEAR(gaussian_error(kGaussianGrids[3]), .0104684031, 1e-9);
  EXPECT_NEAR(gaussian_error(kConvergedGrids[2]), .0345477608, 1e-10);
  EXPECT_NEAR(gaussian_error(kConvergedGrids[3]), .0095010080, 1e-10);
  Scheme scheme;
  scheme.fp4_threshold = Fp4Threshold::code;
  const GaussianCoding coding = *gaussian_coding(scheme.block_side(kE2m1Grid));
  // Beyond 3.24106 r, and between 2.26690 r and 2.60390 r.
  EXPECT_NEAR(coding.masked, .0011908815 + (.0233966032 - .0092169111), 1e-9);
}

/// Rows of normal draws coded by the definition: error over squares, and the share masked.
GaussianCoding drawn(const SideCoding& side, std::size_t k, double mean = 0, double deviation = 1) {
  const Rng rng(41);
  constexpr std::size_t kEntries = 1 << 18;
  double error = 0, squares = 0, masked = 0;
  std::vector<double> x(k);
  std::vector<std::uint8_t> codes(k);
  for (std::size_t at = 0; at + k <= kEntries; at += k) {
    for (std::size_t i = 0; i < k; ++i) x[i] = mean + deviation * rng.normal(at + i);
    const std::vector<double> before = x;
    const double offset = side.shift == Shift::learned ? side.offset
                          : side.shift == Shift::mean  ? kernels::reference::row_mean<double>(x)
                                                       : 0;
    kernels::reference::shift_row<double>(x, offset);
    const auto row = kernels::reference::code_row<double>(x, side, codes.data());
    for (std::size_t i = 0; i < k; ++i) {
      error += std::pow(side.grid->value(codes[i]) * row.scale + offset - before[i], 2);
      squares += before[i] * before[i];
      masked += !kernels::reference::trusted(x[i], row, kernels::reference::is_pruned(*side.grid, codes[i]));
    }
  }
  return {error / squares, masked / static_cast<double>(kEntries / k * k)};
}

void expect_as_drawn(const SideCoding& side, const NormalRows& rows, double tolerance, const char* what) {
  const auto found = gaussian_coding(side, rows);
  ASSERT_TRUE(found) << what;
  const GaussianCoding wanted = drawn(side, rows.k, rows.mean, rows.deviation);
  EXPECT_NEAR(found->error / wanted.error, 1, tolerance) << what;
  EXPECT_NEAR(found->masked, wanted.masked, 2.5e-3) << what;
}

TEST(Gaussian, PairsAbsmaxAndLearnedStepsHaveTheExpectationThatDrawsHave) {
  Scheme scheme;
  for (const SparseScale sparse : {SparseScale::dense, SparseScale::refit})
    for (const Estimator estimator : {Estimator::trust, Estimator::clip}) {
      scheme.sparse_scale = sparse;
      scheme.estimator = estimator;
      expect_as_drawn(scheme.block_side(kPairsGrids[3]), {4096}, 1e-2, "w4+2:4");
      expect_as_drawn(scheme.block_side(kPairsGrids[1]), {4096}, 1e-2, "w2+2:4");
    }
  scheme = {};
  scheme.scale = ScaleRule::absmax;
  scheme.estimator = Estimator::ste;
  for (const char* grid : {"1", "1.58", "3", "8"})
    for (const std::size_t k : {32, 512}) expect_as_drawn(scheme.block_side(*find_grid(grid)), {k}, 1.6e-2, grid);
  expect_as_drawn(scheme.block_side(kE2m1Grid), {128}, 1.6e-2, "fp4");
  EXPECT_FALSE(gaussian_coding(scheme.block_side(kPairsGrids[3]), {128}));
  scheme = {};
  scheme.estimator = Estimator::lsq_plus;
  SideCoding learned = scheme.input_side(*find_grid("3"));
  learned.step = -0.9;  // one that has crossed zero
  learned.offset = 0.4;
  expect_as_drawn(learned, {256, 0.7, 1.6}, 1.6e-2, "lsq+");
  expect_as_drawn(
      [&] {
        SideCoding side = scheme.weight_side(*find_grid("1.58"));
        side.step = 1.1;
        return side;
      }(),
      {256, 0, 1}, 1.6e-2, "lsq+ weights");
  scheme.estimator = Estimator::adabin;
  expect_as_drawn(scheme.weight_side(*find_grid("1")), {4096, 0.3, 0.8}, 1.6e-2, "adabin");
}

}  // namespace
}  // namespace lowbit
