#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>

#include "golden/reference_linear.h"
#include "golden/test_support.h"

// Numbers worked out from the formulas of QuEST (arXiv 2502.05003) by other means, for the reference templates in
// double (1e-6 of the value) and in float (1e-4), unless exact. Codes and masks are exact in both.
namespace lowbit::golden {

inline constexpr double kEverything = std::numeric_limits<double>::infinity();
/// |found - wanted| allowed: relative to the value, or to `scale` where the value is a sum that cancels.
template <class T>
double bound(double wanted, double scale = 0) {
  // The oracles are printed with ten digits at most, seven behind the point in places.
  const double printed = 6e-8;
  return (std::is_same_v<T, double> ? 1e-6 : 1e-4) * std::max(std::abs(wanted), scale) + printed;
}
#define EXPECT_ORACLE(found, wanted) EXPECT_NEAR(static_cast<double>(found), wanted, (bound<TypeParam>(wanted)))
#define EXPECT_ORACLE_SCALED(found, wanted, scale) \
  EXPECT_NEAR(static_cast<double>(found), wanted, (bound<TypeParam>(wanted, scale)))

inline const Grid& grid_of(int bits) { return *find_grid(std::to_string(bits)); }

using NumberTypes = testing::Types<double, float>;

}  // namespace lowbit::golden
