#include <gtest/gtest.h>

#include <cmath>

#include "lowbit/formats/gaussian.h"

namespace lowbit {
namespace {

TEST(Gaussian, ErrorsAndMaskedSharesOfEveryGridAreThePublishedTables) {
  // quest.md section 1: mean square error at the alpha in use, and P(mask = 0) on N(0, 1). Ternary has its right grid there.
  constexpr struct {
    std::string_view grid;
    double error, masked;
  } kTable[] = {{"1", .3633802276, .110540},     {"1.58", .1901740393, .066356},   {"2", .1188460504, .046439},
                {"3", .0374396594, .019074},     {"4", .0115428845, .0073287},     {"5", .0034952114, .0026111},
                {"6", .0010400476, .00087282},   {"7", .0003043660, .00028408},    {"8", .0000878216, .000096124}};
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
  const GaussianCoding coding = gaussian_coding(scheme.block_side(kE2m1Grid));
  // Beyond 3.24106 r, and between 2.26690 r and 2.60390 r.
  EXPECT_NEAR(coding.masked, .0011908815 + (.0233966032 - .0092169111), 1e-9);
  EXPECT_TRUE(std::isnan(gaussian_coding(scheme.block_side(kPairsGrids[3])).error));
}

}  // namespace
}  // namespace lowbit
