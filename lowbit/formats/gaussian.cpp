#include "lowbit/formats/gaussian.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

namespace lowbit {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double distribution(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }
double density(double x) { return std::isinf(x) ? 0 : std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

/// What h is multiplied by, ascending; of 2:4 what its survivors have.
std::vector<double> numbers_of(const Grid& side) {
  const Grid& grid = side.dense ? *side.dense : side;
  std::vector<double> numbers;
  if (grid.cells == Cells::e2m1) {
    for (const int o : kE2m1Magnitudes) {
      numbers.push_back(o);
      if (o > 0) numbers.push_back(-o);
    }
  } else {
    for (int u = 0; u < grid.levels; ++u) numbers.push_back(grid.value(u));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

/// h of a row of RMS 1.
double unit_of(const Grid& side) {
  const Grid& grid = side.dense ? *side.dense : side;
  return grid.integer() ? grid.alpha * grid.extent / grid.largest() : 1;
}

/// Integrals over z of N(0, 1) between a lower and an upper bound, each entry in the cell of its nearest level.
struct CellSums {
  double error = 0;              ///< of (z - level)^2
  double cross = 0, square = 0;  ///< of z * number, and of number^2
};
/// levels[i] = (number of i) * unit, and so on: ascending.
CellSums over_cells(std::span<const double> numbers, double unit, double shift, double below, double above) {
  CellSums sum;
  const auto edge = [](double x) { return std::isinf(x) ? 0 : x * density(x); };
  for (std::size_t u = 0; u < numbers.size(); ++u) {
    const double c = numbers[u] * unit + shift;
    const double first = u == 0 ? below : std::max(below, (numbers[u - 1] * unit + shift + c) / 2);
    const double last = u + 1 == numbers.size() ? above : std::min(above, (c + numbers[u + 1] * unit + shift) / 2);
    if (!(first < last)) continue;
    // Integral of (z - c)^2 over the cell: second moment, minus 2 c times the first, plus c^2 times the weight.
    const double weight = distribution(last) - distribution(first), moment = density(first) - density(last);
    sum.error += (1 + c * c) * weight - (edge(last) - edge(first)) - 2 * c * moment;
    sum.cross += moment * numbers[u];
    sum.square += weight * numbers[u] * numbers[u];
  }
  return sum;
}
CellSums over_cells(std::span<const double> numbers, double unit, double deviation) {
  return over_cells(numbers, unit / deviation, 0, -kInfinity, kInfinity);
}

/// The part of an entry's density that survives 2:4, as a sum of normal densities.
struct Part {
  double weight, deviation;
};
const Part kSurvivors[]{{1, 1}, {-1, std::sqrt(1.0 / 3)}, {0.5, 0.5}};
/// E[z^2] of what does not: 1/3 - 1/8.
constexpr double kPrunedSquares = 5.0 / 24;

double pairs_error(const Grid& side, SparseScale scale) {
  const std::vector<double> numbers = numbers_of(side);
  const double unit = unit_of(side);
  double error = 0, cross = 0, square = 0;
  for (const Part& part : kSurvivors) {
    const CellSums cells = over_cells(numbers, unit, part.deviation);
    error += part.weight * part.deviation * part.deviation * cells.error;
    cross += part.weight * part.deviation * cells.cross;
    square += part.weight * cells.square;
  }
  // Least squares over the survivors: their squares without what the fit explains.
  if (scale == SparseScale::refit) error = 1 - kPrunedSquares - cross * cross / square;
  return error + kPrunedSquares;
}

double pairs_masked(const TrustRule& trust) {
  double masked = 0, pruned = gaussian_masked_share(trust.pruned);
  for (const Part& part : kSurvivors) {
    masked += part.weight * gaussian_masked_share(trust.edge / part.deviation);
    pruned -= part.weight * gaussian_masked_share(trust.pruned / part.deviation);
  }
  return masked + pruned;
}

/// Over rows of k whose largest magnitude m is the largest level: one entry has no error, the others lie within m.
double absmax_error(const Grid& grid, std::size_t k) {
  constexpr int kQuantiles = 400;
  const std::vector<double> numbers = numbers_of(grid);
  double sum = 0;
  for (int i = 0; i < kQuantiles; ++i) {
    // P(all |z| <= m) = (2 Phi(m) - 1)^k, so m is where that is the quantile.
    const double inside = std::pow((i + 0.5) / kQuantiles, 1 / static_cast<double>(k));
    double low = 0, high = 40;
    for (int step = 0; step < 80; ++step) {
      const double middle = (low + high) / 2;
      // 1 - inside is small: compare the tails.
      (gaussian_masked_share(middle) > -std::expm1(std::log((i + 0.5) / kQuantiles) / static_cast<double>(k)) ? low
                                                                                                              : high) =
          middle;
    }
    sum += over_cells(numbers, low / numbers.back(), 0, -low, low).error / inside;
  }
  return sum / kQuantiles * static_cast<double>(k - 1) / static_cast<double>(k);
}

/// Given step and offset: entries of N(mean, deviation^2).
GaussianCoding learned_coding(const SideCoding& side, const NormalRows& rows) {
  const Grid& grid = *side.grid;
  const double step = std::abs(side.step), shift = side.shift == Shift::none ? 0 : side.offset;
  const double error = over_cells(numbers_of(grid), (grid.zero_is_level ? 1 : 0.5) * step / rows.deviation,
                                  (shift - rows.mean) / rows.deviation, -kInfinity, kInfinity)
                           .error;
  const double squares = rows.deviation * rows.deviation, edge = side.trust.edge * step;
  const auto share = [&](double bound) { return distribution((bound - rows.mean) / rows.deviation); };
  const double masked = std::isinf(edge) ? 0 : edge < 0 ? 1 : 1 - share(shift + edge) + share(shift - edge);
  return {error * squares / (squares + rows.mean * rows.mean), masked};
}

}  // namespace

double gaussian_error(const Grid& grid) {
  return grid.dense ? pairs_error(grid, SparseScale::dense) : over_cells(numbers_of(grid), unit_of(grid), 1).error;
}

double gaussian_masked_share(double factor) { return std::erfc(factor / std::numbers::sqrt2); }

std::optional<GaussianCoding> gaussian_coding(const SideCoding& side, const NormalRows& rows) {
  const TrustRule& trust = side.trust;
  switch (side.scale) {
    case ScaleRule::learned:
      return learned_coding(side, rows);
    case ScaleRule::deviation: {
      // Two levels a deviation from the mean: E (|z| - 1)^2, and every gradient passes.
      const double squares = rows.deviation * rows.deviation;
      return GaussianCoding{(2 - 2 * std::sqrt(2 / std::numbers::pi)) * squares / (squares + rows.mean * rows.mean), 0};
    }
    case ScaleRule::absmax:
      assert(rows.k > 0);
      if (side.grid->dense) return std::nullopt;
      return GaussianCoding{absmax_error(*side.grid, rows.k), 0};
    case ScaleRule::mse:
      return std::nullopt;  // of a long row that of rms, of a short one a little less
    case ScaleRule::rms:
      break;
  }
  if (side.grid->dense) return GaussianCoding{pairs_error(*side.grid, side.sparse_scale), pairs_masked(trust)};
  const double hole = gaussian_masked_share(trust.hole_begin) - gaussian_masked_share(trust.hole_end);
  return GaussianCoding{gaussian_error(*side.grid), gaussian_masked_share(trust.edge) + hole};
}

}  // namespace lowbit
