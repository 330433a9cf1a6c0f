#pragma once
#include <cmath>

#include "lowbit/base/rng.h"
#include "lowbit/laws/constants.h"
#include "lowbit/laws/points.h"

namespace lowbit::test {

/// Runs that a law says, sizes times tokens per parameter times formats, with normal noise on the log-loss.
inline laws::Points made_up(laws::Law law, laws::Constants c, const std::vector<std::string>& formats,
                            const std::vector<double>& sizes, const std::vector<double>& ratios, double noise = 0,
                            std::uint64_t seed = 1) {
  laws::Points points;
  const Rng rng(seed);
  for (const std::string& name : formats) points.format(name);
  for (std::size_t f = 0; f < formats.size(); ++f)
    for (const double n : sizes)
      for (const double ratio : ratios) {
        const double loss = laws::loss_at(law, c, n, n * ratio, c.of_format[f]);
        points.points.push_back(
            {n, n * ratio, f, loss * std::exp(noise * rng.normal(points.points.size())), "made up"});
      }
  return points;
}

/// Constants near those of Hoffmann et al. 2022, so that every term matters.
inline laws::Constants usual_constants() { return {406.4, 0.34, 410.7, 0.28, 1.69, 0, 0, 0, {1, 0.7, 0.43, 0.16}}; }
inline const std::vector<std::string> kUsualFormats{"bf16", "w4a4", "w3a3", "w2a2"};
inline const std::vector<double> kUsualSizes{3e7, 6e7, 1.2e8, 2.5e8, 5e8}, kUsualRatios{10, 30, 100};

}  // namespace lowbit::test
