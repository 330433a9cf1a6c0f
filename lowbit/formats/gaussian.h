#pragma once
#include "lowbit/formats/format.h"

// What coding does to a standard normal variable: what a grid's alpha was chosen for, and what measured errors are held to.
namespace lowbit {

/// Mean square error of the nearest level for z of N(0, 1), levels as of a row with RMS 1 and no epsilon. NaN for 2:4, where
/// it depends on neighbours too.
/// source  quest.md section 1; the integral over each cell in closed form.
double gaussian_error(const Grid& grid);
/// P(|z| > factor): the share that a trust mask |x| <= factor * r takes out.
double gaussian_masked_share(double factor);
/// Both for the rows of one side. NaN where no closed form is known: 2:4, and scales by the largest magnitude.
struct GaussianCoding {
  double error, masked;
};
GaussianCoding gaussian_coding(const SideCoding& side);

}  // namespace lowbit
