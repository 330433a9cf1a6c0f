#pragma once
#include <functional>
#include <span>
#include <vector>

namespace lowbit::laws {

/// Residuals r of parameters x, and where `jacobian` is not empty, row by row, dr_i/dx_j at i * x.size() + j (zeros are
/// left as they are). returns false where the function is not defined.
using Residuals = std::function<bool(std::span<const double> x, std::span<double> r, std::span<double> jacobian)>;

struct Range {
  double low, high;
};

struct LeastOptions {
  double huber = 1e-3;  ///< delta: residuals beyond it cost linearly; infinity: least squares
  int steps = 500;      ///< at most
};

struct Least {
  std::vector<double> x;
  double cost = 0;  ///< sum of r^2 / 2, or delta (|r| - delta / 2) beyond delta
  bool converged = false;
};

/// A least sum of Huber costs within bounds, by Levenberg and Marquardt from one start: each step solves the equations
/// of the residuals weighted by min(1, delta / |r|), a quadratic that touches the Huber cost from above, so no step
/// raises it; parameters at a bound that want to leave it stay there. Deterministic. Few parameters are meant: the
/// matrix is dense. residuals  how many there are. x within bounds, bounds.size() == x.size(). source     Levenberg
/// 1944, Marquardt 1963 (scaling), Madsen, Nielsen and Tingleff 2004 (damping), Huber 1964.
Least least(const Residuals& function, std::size_t residuals, std::vector<double> x, std::span<const Range> bounds,
            const LeastOptions& options = {});

/// The Huber cost of residuals.
double huber_cost(std::span<const double> r, double delta);

}  // namespace lowbit::laws
