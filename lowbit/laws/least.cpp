#include "lowbit/laws/least.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace lowbit::laws {
namespace {

/// Solves h s = g for a symmetric positive definite h (n x n, overwritten). false when it is not.
bool solve(std::vector<double>& h, std::vector<double>& g, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) {
    double d = h[j * n + j];
    for (std::size_t k = 0; k < j; ++k) d -= h[j * n + k] * h[j * n + k];
    if (!(d > 0)) return false;
    d = std::sqrt(d);
    h[j * n + j] = d;
    for (std::size_t i = j + 1; i < n; ++i) {
      double v = h[i * n + j];
      for (std::size_t k = 0; k < j; ++k) v -= h[i * n + k] * h[j * n + k];
      h[i * n + j] = v / d;
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) g[i] -= h[i * n + k] * g[k];
    g[i] /= h[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) g[i] -= h[k * n + i] * g[k];
    g[i] /= h[i * n + i];
  }
  return true;
}

struct Equations {
  std::vector<double> h, g;
};

/// J^T W J and J^T W r. Most of a row is zero (a run has one format), so zeros are stepped over.
Equations equations(std::span<const double> r, std::span<const double> jacobian, std::size_t n, double delta) {
  Equations e{std::vector<double>(n * n), std::vector<double>(n)};
  std::vector<std::size_t> used;
  for (std::size_t i = 0; i < r.size(); ++i) {
    const double* row = jacobian.data() + i * n;
    const double weight = std::abs(r[i]) <= delta ? 1 : delta / std::abs(r[i]);
    used.clear();
    for (std::size_t j = 0; j < n; ++j)
      if (row[j] != 0) used.push_back(j);
    for (const std::size_t j : used) {
      e.g[j] += weight * row[j] * r[i];
      for (const std::size_t k : used) e.h[j * n + k] += weight * row[j] * row[k];
    }
  }
  return e;
}

}  // namespace

double huber_cost(std::span<const double> r, double delta) {
  double sum = 0;
  for (const double v : r) {
    const double a = std::abs(v);
    sum += a <= delta ? 0.5 * a * a : delta * (a - 0.5 * delta);
  }
  return sum;
}

Least least(const Residuals& function, std::size_t residuals, std::vector<double> x, std::span<const Range> bounds,
            const LeastOptions& options) {
  const std::size_t n = x.size();
  assert(bounds.size() == n);
  std::vector<double> r(residuals), tried(n), tried_r(residuals), jacobian(residuals * n);
  Least best{x, INFINITY, false};
  if (!function(x, r, jacobian)) return best;
  best.cost = huber_cost(r, options.huber);
  if (n == 0) return {x, best.cost, true};
  double damping = 1e-3, growth = 2;
  int small = 0;
  for (int step = 0; step < options.steps; ++step) {
    const Equations full = equations(r, jacobian, n, options.huber);
    // Parameters that are free: not at a bound that the gradient pushes them over.
    std::vector<std::size_t> free;
    for (std::size_t j = 0; j < n; ++j) {
      const bool pressed =
          (best.x[j] <= bounds[j].low && full.g[j] > 0) || (best.x[j] >= bounds[j].high && full.g[j] < 0);
      if (!pressed && full.h[j * n + j] > 0) free.push_back(j);
    }
    if (free.empty()) return best.converged = true, best;
    bool better = false;
    while (!better && damping < 1e18) {
      std::vector<double> h(free.size() * free.size()), s(free.size());
      for (std::size_t a = 0; a < free.size(); ++a) {
        for (std::size_t b = 0; b < free.size(); ++b) h[a * free.size() + b] = full.h[free[a] * n + free[b]];
        h[a * free.size() + a] *= 1 + damping;
        s[a] = full.g[free[a]];
      }
      bool moved = false;
      tried = best.x;
      if (solve(h, s, free.size()))
        for (std::size_t a = 0; a < free.size(); ++a) {
          const std::size_t j = free[a];
          tried[j] = std::clamp(best.x[j] - s[a], bounds[j].low, bounds[j].high);
          moved |= tried[j] != best.x[j];
        }
      if (moved && function(tried, tried_r, {})) {
        const double cost = huber_cost(tried_r, options.huber);
        if (cost < best.cost) {
          // Nine small gains in a row end it: one alone may be a damped step on the way down.
          small = best.cost - cost < 1e-10 * best.cost ? small + 1 : 0;
          best.x = tried;
          best.cost = cost;
          better = true;
          damping = std::max(damping / 3, 1e-14);
          growth = 2;
          continue;
        }
      }
      damping *= growth;
      growth *= 2;
    }
    if (!better || small >= 9) return best.converged = true, best;
    std::fill(jacobian.begin(), jacobian.end(), 0.0);
    function(best.x, r, jacobian);
  }
  return best;
}

}  // namespace lowbit::laws
