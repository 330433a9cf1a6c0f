#include "lowbit/base/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace lowbit {
namespace {

// The known answers published with the Random123 library for philox4x32-10.
TEST(Philox, GivesTheRandom123KnownAnswers) {
  using W = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (W{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (W{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (W{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, NormalDrawsHaveTheMomentsOfANormalDistribution) {
  const Rng rng(5);
  double sum = 0, squares = 0, fourth = 0;
  constexpr int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double z = rng.normal(static_cast<std::uint64_t>(i));
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  // Five standard errors of each moment: 1, sqrt(2), sqrt(96) over sqrt(n).
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96.0 / n));
}

TEST(Rng, StreamsOfDifferentSeedUseAndStepDiffer) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed : {0, 1})
    for (RandomUse use : {RandomUse::init, RandomUse::sample})
      for (std::uint64_t step : {0, 1}) seen.insert(Rng(seed, use, step).bits(0));
  EXPECT_EQ(seen.size(), 8u);
}

TEST(Permute, VisitsEveryIndexOnceForEverySize) {
  for (std::uint64_t n : {1, 2, 3, 7, 8, 9, 100, 1025}) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t p = permute(Rng(9), i, n);
      EXPECT_LT(p, n);
      seen.insert(p);
    }
    EXPECT_EQ(seen.size(), n);
  }
}

}  // namespace
}  // namespace lowbit
