#include "lowbit/laws/allocation.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "lowbit/base/error.h"

namespace lowbit::laws {
namespace {

/// What the layers so far may sum to: no other sum has both fewer bytes and less cost.
struct Sum {
  std::int64_t bytes;
  double cost;
  std::uint32_t before, choice;  ///< the sum without the last layer, and that layer's choice
};

}  // namespace

Allocation allocate(const std::vector<std::vector<StorageChoice>>& layers, std::int64_t budget) {
  std::int64_t least = 0;
  for (const auto& choices : layers) {
    assert(!choices.empty());
    assert(std::all_of(choices.begin(), choices.end(),
                       [](const StorageChoice& c) { return c.bytes >= 0 && std::isfinite(c.cost); }));
    least +=
        std::min_element(choices.begin(), choices.end(), [](auto& a, auto& b) { return a.bytes < b.bytes; })->bytes;
  }
  if (least > budget)
    fail_usage("a budget of {} bytes is too small: with the fewest bits that are allowed the layers take {}", budget,
               least);

  std::vector<std::vector<Sum>> sums{{{0, 0, 0, 0}}};
  for (const auto& choices : layers) {
    // Of the layers still to come each takes its least.
    least -=
        std::min_element(choices.begin(), choices.end(), [](auto& a, auto& b) { return a.bytes < b.bytes; })->bytes;
    const std::vector<Sum>& before = sums.back();
    std::vector<Sum> all;
    for (std::uint32_t i = 0; i < before.size(); ++i)
      for (std::uint32_t c = 0; c < choices.size(); ++c)
        if (before[i].bytes + choices[c].bytes + least <= budget)
          all.push_back({before[i].bytes + choices[c].bytes, before[i].cost + choices[c].cost, i, c});
    std::stable_sort(all.begin(), all.end(), [](const Sum& a, const Sum& b) {
      return a.bytes != b.bytes ? a.bytes < b.bytes : a.cost < b.cost;
    });
    std::vector<Sum> kept;
    for (const Sum& sum : all)
      if (kept.empty() || sum.cost < kept.back().cost) kept.push_back(sum);
    sums.push_back(std::move(kept));
  }
  const Sum& best = sums.back().back();
  Allocation allocation{std::vector<std::size_t>(layers.size()), best.bytes, best.cost};
  const Sum* at = &best;
  for (std::size_t layer = layers.size(); layer-- > 0;) {
    allocation.choice[layer] = at->choice;
    at = &sums[layer][at->before];
  }
  return allocation;
}

Sensitivity sensitivity(const std::vector<NoiseSample>& samples) {
  double products = 0, errors = 0, squares = 0;
  for (const NoiseSample& s : samples) {
    products += s.t2 * s.change;
    errors += s.t2 * s.error;
    squares += s.t2 * s.t2;
  }
  return squares > 0 ? Sensitivity{products / squares, errors / squares} : Sensitivity{};
}

}  // namespace lowbit::laws
