#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lowbit/laws/fit.h"

namespace lowbit::laws {

/// A model that fills a memory: N = 8 bytes / bits of a weight parameters, trained on what is left of the compute.
struct Choice {
  std::size_t format = 0;
  double bits = 0;  ///< of a weight
  double n = 0, d = 0, loss = 0;
};

/// From here on, as compute grows, another format is the best one.
struct Crossing {
  double ratio = 0;  ///< D/N of the 16-bit model of the same bytes and compute
  double flops = 0;
  std::size_t from = 0, to = 0;  ///< formats
};

/// For every fitted format whose bits are known, the model that fills `bytes` of memory with the weights that N counts,
/// trained with `flops` (6 N D of them a run); best first.
std::vector<Choice> choices(const Fit& fit, double bytes, double flops);

/// Where the best format changes at this memory as the compute grows from D/N = 0.1 to 10^6 of the 16-bit model.
/// first: the best one at the least compute.
std::vector<Crossing> crossings(const Fit& fit, double bytes, std::size_t* first = nullptr);

/// The format that has the most effective parameters in a bit of memory: the best one where tokens are no limit. Its
/// place, or nothing when no format tells its bits. n: where `additive` has its eff.
std::optional<std::size_t> best_per_bit(const Fit& fit, double n);

}  // namespace lowbit::laws
