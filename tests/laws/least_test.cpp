#include "lowbit/laws/least.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lowbit::laws {
namespace {

constexpr double kSquares = std::numeric_limits<double>::infinity();

/// Rosenbrock's valley as residuals: its least is 0 at (1, 1).
bool valley(std::span<const double> x, std::span<double> r, std::span<double> j) {
  r[0] = 10 * (x[1] - x[0] * x[0]);
  r[1] = 1 - x[0];
  if (!j.empty()) j[0] = -20 * x[0], j[1] = 10, j[2] = -1, j[3] = 0;
  return true;
}

TEST(Least, WalksACurvedValleyToItsEnd) {
  const Range wide[] = {{-5, 5}, {-5, 5}};
  const Least found = least(valley, 2, {-1.2, 1}, wide, {kSquares, 500});
  EXPECT_TRUE(found.converged);
  EXPECT_NEAR(found.x[0], 1, 1e-9);
  EXPECT_NEAR(found.x[1], 1, 1e-9);
}

TEST(Least, StaysWithinBoundsAndIsLeastAmongThem) {
  const Range bounds[] = {{-5, 0.5}, {-5, 5}};
  const Least found = least(valley, 2, {-1.2, 1}, bounds, {kSquares, 500});
  EXPECT_TRUE(found.converged);
  EXPECT_EQ(found.x[0], 0.5);
  EXPECT_NEAR(found.x[1], 0.25, 1e-9);  // the valley's floor where it meets the bound
}

/// A line through values; the sixth is far off.
bool line(std::span<const double> x, std::span<double> r, std::span<double> j) {
  for (std::size_t i = 0; i < 10; ++i) {
    const double t = static_cast<double>(i);
    r[i] = x[0] + x[1] * t - (1 + 2 * t + (i == 5 ? 50.0 : 0.0));
    if (!j.empty()) j[2 * i] = 1, j[2 * i + 1] = t;
  }
  return true;
}

TEST(Least, AHuberCostBarelyMovesForOneWrongValue) {
  const Range wide[] = {{-100, 100}, {-100, 100}};
  const Least squares = least(line, 10, {0, 0}, wide, {kSquares, 500});
  const Least huber = least(line, 10, {0, 0}, wide, {1e-3, 2000});
  EXPECT_GT(std::abs(squares.x[0] - 1), 1);
  EXPECT_NEAR(huber.x[0], 1, 1e-2);
  EXPECT_NEAR(huber.x[1], 2, 1e-2);
}

TEST(Least, AFunctionThatIsNotDefinedAtTheStartHasNoEnd) {
  const Range wide[] = {{-1, 1}};
  const auto nowhere = [](auto, auto, auto) { return false; };
  EXPECT_FALSE(std::isfinite(least(nowhere, 1, {0}, wide).cost));
}

TEST(Least, HuberCostIsSquareInsideAndLinearOutside) {
  const double r[] = {0.5, -3};
  EXPECT_DOUBLE_EQ(huber_cost(r, 1), 0.125 + (3 - 0.5));
}

}  // namespace
}  // namespace lowbit::laws
