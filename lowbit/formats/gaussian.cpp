#include "lowbit/formats/gaussian.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace lowbit {
namespace {

double distribution(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }
double density(double x) { return std::isinf(x) ? 0 : std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

}  // namespace

double gaussian_error(const Grid& grid) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (grid.dense) return std::numeric_limits<double>::quiet_NaN();
  const double unit = grid.integer() ? grid.alpha * grid.extent / grid.largest() : 1;
  std::vector<double> levels;
  if (grid.cells == Cells::e2m1) {
    for (const int o : kE2m1Magnitudes) {
      levels.push_back(unit * o);
      if (o > 0) levels.push_back(-unit * o);
    }
  } else {
    for (int u = 0; u < grid.levels; ++u) levels.push_back(unit * grid.value(u));
  }
  std::sort(levels.begin(), levels.end());
  double error = 0;
  for (std::size_t u = 0; u < levels.size(); ++u) {
    const double c = levels[u];
    const double a = u == 0 ? -infinity : (levels[u - 1] + c) / 2;
    const double b = u + 1 == levels.size() ? infinity : (c + levels[u + 1]) / 2;
    const auto edge = [](double x) { return std::isinf(x) ? 0 : x * density(x); };
    // Integral of (z - c)^2 over the cell: second moment, minus 2 c times the first, plus c^2 times the weight.
    const double weight = distribution(b) - distribution(a);
    error += (1 + c * c) * weight - (edge(b) - edge(a)) + 2 * c * (density(b) - density(a));
  }
  return error;
}

double gaussian_masked_share(double factor) { return std::erfc(factor / std::numbers::sqrt2); }

GaussianCoding gaussian_coding(const SideCoding& side) {
  if (side.grid->dense || side.scale != ScaleRule::rms)
    return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  const TrustRule& trust = side.trust;
  const double hole = gaussian_masked_share(trust.hole_begin) - gaussian_masked_share(trust.hole_end);
  return {gaussian_error(*side.grid), gaussian_masked_share(trust.edge) + hole};
}

}  // namespace lowbit
