#include <gtest/gtest.h>

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

}  // namespace
}  // namespace lowbit
