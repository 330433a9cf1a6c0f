#include "lowbit/run/sampler.h"

#include <algorithm>
#include <cmath>

#include "lowbit/base/error.h"
#include "lowbit/base/math.h"
#include "lowbit/base/rng.h"

namespace lowbit::run {

void check(const SamplerOptions& o) {
  if (!(o.temperature >= 0 && o.temperature <= 100)) fail_usage("--temperature must lie in [0, 100], not {}", o.temperature);
  if (o.top_k < 0) fail_usage("--top-k must not be negative (0 keeps all), not {}", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1)) fail_usage("--top-p must lie in (0, 1], not {}", o.top_p);
  if (!(o.min_p >= 0 && o.min_p < 1)) fail_usage("--min-p must lie in [0, 1), not {}", o.min_p);
  if (!(o.repetition_penalty > 0 && o.repetition_penalty <= 100))
    fail_usage("--repetition-penalty must lie in (0, 100] (1 changes nothing), not {}", o.repetition_penalty);
}

Sampler::Sampler(const SamplerOptions& options, std::size_t vocabulary) : options_(options), seen_(vocabulary, 0) {
  check(options);
  candidates_.reserve(vocabulary);
}

void Sampler::see(std::int32_t token) { seen_[static_cast<std::size_t>(token)] = 1; }

double Sampler::adjusted(std::span<const float> logits, std::size_t token) const {
  const double z = static_cast<double>(logits[token]);
  if (!seen_[token]) return z;
  return z > 0 ? z / options_.repetition_penalty : z * options_.repetition_penalty;
}

std::int32_t Sampler::choose(std::span<const float> logits, std::uint64_t position) {
  const std::size_t n = seen_.size();
  std::size_t best = 0;
  double top = adjusted(logits, 0);
  for (std::size_t i = 1; i < n; ++i) {
    const double z = adjusted(logits, i);
    if (z > top) {
      top = z;
      best = i;
    }
  }
  if (options_.temperature == 0) return static_cast<std::int32_t>(best);

  candidates_.clear();
  for (std::size_t i = 0; i < n; ++i) {
    const double p = math::exp((adjusted(logits, i) - top) / options_.temperature);
    if (p >= options_.min_p && p > 0) candidates_.push_back({p, static_cast<std::int32_t>(i)});
  }
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
  };
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k > 0 && k < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(k), candidates_.end(), likelier);
    candidates_.resize(k);
  }
  // Sorted always, so that the draw does not depend on how the cut was made.
  std::sort(candidates_.begin(), candidates_.end(), likelier);
  double total = 0;
  for (const Candidate& c : candidates_) total += c.probability;
  if (options_.top_p < 1) {
    double kept = 0;
    std::size_t count = 0;
    while (count < candidates_.size() && kept < options_.top_p * total) kept += candidates_[count++].probability;
    candidates_.resize(std::max<std::size_t>(1, count));
    total = kept;
  }
  double left = Rng(options_.seed, RandomUse::sample, position).uniform(0) * total;
  for (const Candidate& c : candidates_) {
    left -= c.probability;
    if (left < 0) return c.token;
  }
  return candidates_.back().token;
}

}  // namespace lowbit::run
