#include "lowbit/laws/budget.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lowbit::laws {
namespace {

/// A fit that has the constants stored with QuEST's runs, and formats with their eff.
Fit stored(const std::vector<std::pair<std::string, double>>& formats) {
  Fit fit;
  fit.c = {8.134031, 0.0627265, 86.411906, 0.2412884, 0.0014233, 0, 0, 0, {}};
  for (const auto& [name, eff] : formats) {
    fit.points.format(name);
    fit.c.of_format.push_back(eff);
  }
  return fit;
}

TEST(Budget, EightToFourBitsCrossWhereThePublishedConstantsSay) {
  const Fit fit = stored({{"w8a8", 1.0162}, {"w4a4", 0.6918}});
  // Bytes, and D/N of the 16-bit model, as recomputed from the constants to two or three digits.
  for (const auto& [bytes, ratio] : {std::pair{1.6e9, 125.0}, {6.4e9, 45.0}, {14e9, 25.0}, {140e9, 4.6}}) {
    std::size_t first = 9;
    const auto found = crossings(fit, bytes, &first);
    ASSERT_EQ(found.size(), 1u) << bytes;
    EXPECT_EQ(first, 0u);
    EXPECT_EQ(found[0].to, 1u);
    EXPECT_NEAR(found[0].ratio, ratio, 0.03 * ratio) << bytes;
    EXPECT_NEAR(found[0].flops, 6 * bytes / 2 * bytes / 2 * found[0].ratio, 1e-6 * found[0].flops);
  }
}

TEST(Budget, ChoicesFillTheMemoryAndSpendTheCompute) {
  const Fit fit = stored({{"bf16", 1}, {"w4a4", 0.6918}, {"odd", 0.5}, {"w2a2", NAN}});
  const auto all = choices(fit, 1e8, 6e18);
  ASSERT_EQ(all.size(), 2u);  // one name tells no bits, one format was not fitted
  EXPECT_LE(all[0].loss, all[1].loss);
  for (const Choice& c : all) {
    EXPECT_DOUBLE_EQ(c.n * c.bits / 8, 1e8);
    EXPECT_DOUBLE_EQ(6 * c.n * c.d, 6e18);
  }
}

TEST(Budget, FourBitsHaveTheMostEffectiveParametersPerBit) {
  const Fit fit = stored({{"bf16", 1},
                          {"w8a8", 1.0162},
                          {"w4a4", 0.6918},
                          {"fp4", 0.6296},
                          {"w3a3", 0.4331},
                          {"w2a2", 0.1519},
                          {"w1a1", 0.0205}});
  EXPECT_EQ(best_per_bit(fit, 1e8), 2u);
  EXPECT_FALSE(best_per_bit(stored({{"odd", 1}}), 1e8));
}

}  // namespace
}  // namespace lowbit::laws
