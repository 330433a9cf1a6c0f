#include "lowbit/formats/gaussian.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace lowbit {
namespace {

double distribution(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }
double density(double x) { return std::isinf(x) ? 0 : std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

}  // namespace

double gaussian_error(const Grid& grid) {
  const double unit = grid.alpha / grid.largest();
  const auto level = [&](int u) { return unit * grid.value_of_code(u); };
  double error = 0;
  for (int u = 0; u < grid.levels; ++u) {
    const double c = level(u), infinity = std::numeric_limits<double>::infinity();
    const double a = u == 0 ? -infinity : (level(u - 1) + c) / 2, b = u + 1 == grid.levels ? infinity : (c + level(u + 1)) / 2;
    const auto edge = [](double x) { return std::isinf(x) ? 0 : x * density(x); };
    // Integral of (z - c)^2 over the cell: second moment, minus 2 c times the first, plus c^2 times the weight.
    const double weight = distribution(b) - distribution(a);
    error += (1 + c * c) * weight - (edge(b) - edge(a)) + 2 * c * (density(b) - density(a));
  }
  return error;
}

double gaussian_masked_share(double factor) { return std::erfc(factor / std::numbers::sqrt2); }

}  // namespace lowbit
