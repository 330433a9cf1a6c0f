#pragma once
#include <cstddef>
#include <optional>

#include "lowbit/formats/format.h"

// What coding does to a normal variable: what a grid's alpha was chosen for, and what measured errors are held to.
namespace lowbit {

/// Mean square error of the nearest level for z of N(0, 1), levels as of a row with RMS 1 and no epsilon. 2:4: of what
/// was pruned too. source  the integral over each cell in closed form. 2:4: a pair of norm rho
/// survives with probability (1 - e)^2 (1 + 2 e), e = exp(-rho^2 / 2), that at most one of three other pairs is longer;
/// so of one entry's density N(0, 1) - N(0, 1/3) + N(0, 1/4) / 2 survives.
double gaussian_error(const Grid& grid);
/// P(|z| > factor): the share that a trust mask |x| <= factor * r takes out.
double gaussian_masked_share(double factor);

/// Independent normal entries, `k` to a row.
struct NormalRows {
  std::size_t k = 0;               ///< needed by ScaleRule::absmax alone
  double mean = 0, deviation = 1;  ///< needed where the step or the offset is given, not taken from the row
};
struct GaussianCoding {
  double error;   ///< mean square error over mean square
  double masked;  ///< share without gradient
};
/// Both for the rows of one side. Scales of a row are taken at their expectation (rms), or over the law of the row's
/// largest magnitude (absmax; a sum over quantiles of it). Nothing for 2:4 with absmax.
std::optional<GaussianCoding> gaussian_coding(const SideCoding& side, const NormalRows& rows = {});

}  // namespace lowbit
