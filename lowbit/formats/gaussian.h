#pragma once
#include "lowbit/formats/grid.h"

// What a grid does to a standard normal variable: what its alpha was chosen for, and what measured errors are held to.
namespace lowbit {

/// Mean square error of the nearest level for z of N(0, 1), levels as of a row with RMS 1 and no epsilon.
/// source  quest.md section 1; the integral over each cell in closed form.
double gaussian_error(const Grid& grid);
/// P(|z| > factor): the share that a trust mask |x| <= factor * r takes out.
double gaussian_masked_share(double factor);

}  // namespace lowbit
