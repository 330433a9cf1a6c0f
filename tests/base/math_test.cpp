#include "lowbit/base/math.h"

#include <gtest/gtest.h>

#include <cmath>

#include "lowbit/base/rng.h"

namespace lowbit {
namespace {

double ulps(double got, long double want) {
  const double rounded = static_cast<double>(want);
  const double spacing = std::nextafter(std::abs(rounded), INFINITY) - std::abs(rounded);
  return static_cast<double>(std::abs(static_cast<long double>(got) - want) / spacing);
}

TEST(Math, ExpAndLogInDoubleAreWithinTwoUlpsOfLongDouble) {
  const Rng rng(1);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const double x = (rng.uniform(i) - 0.5) * (i % 2 ? 2 : 1300);
    EXPECT_LT(ulps(math::exp(x), std::exp(static_cast<long double>(x))), 1.0) << x;
    const double y = std::exp((rng.uniform(i) - 0.5) * (i % 2 ? 0.1 : 1300));
    EXPECT_LT(ulps(math::log(y), std::log(static_cast<long double>(y))), 2.0) << y;
  }
  EXPECT_EQ(math::exp(0.0), 1.0);
  EXPECT_EQ(math::log(1.0), 0.0);
  EXPECT_TRUE(std::isnan(math::exp(NAN)));
  EXPECT_EQ(math::exp(-INFINITY), 0.0);
  EXPECT_EQ(math::exp(1000.0), INFINITY);
}

TEST(Math, ExpInFloatIsWithinTwoUlpsAndExactAtZero) {
  const Rng rng(2);
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const auto x = static_cast<float>((rng.uniform(i) - 0.5) * (i % 2 ? 2 : 175));
    if (x < -87.336f || x > 88.72f) continue;
    const long double want = std::exp(static_cast<long double>(x));
    const long double spacing = std::ldexp(1.0L, std::ilogb(want) - 23);
    EXPECT_LT(std::abs(static_cast<long double>(math::exp(x)) - want), 2 * spacing) << x;
  }
  EXPECT_EQ(math::exp(0.0f), 1.0f);
  EXPECT_EQ(math::exp(-0.0f), 1.0f);
  EXPECT_EQ(math::exp(-INFINITY), 0.0f);
  EXPECT_EQ(math::exp(-88.0f), 0.0f);
  EXPECT_EQ(math::exp(89.0f), INFINITY);
  EXPECT_TRUE(std::isnan(math::exp(NAN)));
}

TEST(Math, SineAndCosineAreWithinAnUlpOfOneUpToTheLongestContext) {
  const Rng rng(3);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const double x = (rng.uniform(i) - 0.5) * (i % 2 ? 10 : 1e6);
    EXPECT_NEAR(math::sin(x), static_cast<double>(std::sin(static_cast<long double>(x))), 0x1p-52) << x;
    EXPECT_NEAR(math::cos(x), static_cast<double>(std::cos(static_cast<long double>(x))), 0x1p-52) << x;
  }
  EXPECT_EQ(math::sin(0.0), 0.0);
  EXPECT_EQ(math::cos(0.0), 1.0);
}

TEST(Math, PowGivesRotaryFrequenciesToThirteenDigits) {
  for (int i = 0; i < 64; ++i) {
    const long double want = std::pow(10000.0L, -i / 64.0L);
    EXPECT_NEAR(math::pow(10000.0, -i / 64.0) / static_cast<double>(want), 1.0, 1e-14);
  }
}

}  // namespace
}  // namespace lowbit
