#include "lowbit/run/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "lowbit/base/error.h"
#include "lowbit/base/rng.h"
#include "lowbit/kernels/sampling.h"

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
  const std::size_t room = vocabulary + kernels::kGatherSlack;
  if (options.repetition_penalty != 1) {
    seen_tokens_.reserve(vocabulary);
    logits_.resize(vocabulary);
  }
  if (options.temperature == 0) return;
  weights_.resize(vocabulary);
  sums_.resize(kernels::weight_blocks(vocabulary));
  if (options.top_k > 0 && static_cast<std::size_t>(options.top_k) < vocabulary) {
    kept_.resize(room);
    spare_.resize(room);
    kept_tokens_.resize(room);
  }
}

void Sampler::see(std::int32_t token) {
  char& seen = seen_[static_cast<std::size_t>(token)];
  if (!seen && options_.repetition_penalty != 1) seen_tokens_.push_back(token);
  seen = 1;
}

const float* Sampler::penalized(const float* logits) {
  if (seen_tokens_.empty()) return logits;
  std::copy_n(logits, seen_.size(), logits_.data());
  for (const std::int32_t token : seen_tokens_) {
    float& z = logits_[static_cast<std::size_t>(token)];
    const auto exact = static_cast<double>(z);
    z = static_cast<float>(z > 0 ? exact / options_.repetition_penalty : exact * options_.repetition_penalty);
  }
  return logits_.data();
}

namespace {

/// The k-th largest of n values, 0 < k <= n, none of them NaN. A sample tells between which two values it most likely lies;
/// what lies there is copied, and so on until few are left. `a` and `b` have room for n + kGatherSlack values.
float kth_largest(std::size_t n, const float* x, std::size_t k, float* a, float* b) {
  constexpr std::size_t kSample = 128, kMargin = 12, kFew = 512;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float* from = x;
  float* to = a;
  while (n > kFew) {
    std::array<float, kSample> sample;
    for (std::size_t i = 0; i < kSample; ++i) sample[i] = from[i * n / kSample];
    std::sort(sample.begin(), sample.end(), std::greater<>());
    const std::size_t rank = k * kSample / n;
    const float high = rank > kMargin ? sample[rank - kMargin] : kInfinity;
    const float low = rank + kMargin < kSample ? sample[rank + kMargin] : -kInfinity;
    std::size_t above = 0;
    std::size_t count = kernels::gather_between(n, from, low, high, to, above);
    if (k <= above) {  // the sample misled: it is one of those above
      count = kernels::gather_between(n, from, high, kInfinity, to, above);
    } else if (k > above + count) {  // or below
      count = kernels::gather_between(n, from, -kInfinity, low, to, above);
      k -= above;
    } else if (low == high) {
      return high;
    } else {
      k -= above;
    }
    const bool stuck = count == n;
    from = to;
    to = to == a ? b : a;
    n = count;
    if (stuck) break;
  }
  if (from == x) {
    std::copy_n(x, n, a);
    from = a;
  }
  float* const values = from == a ? a : b;
  std::nth_element(values, values + k - 1, values + n, std::greater<>());
  return values[k - 1];
}

bool before(float value, std::size_t index, kernels::Rank rank) {
  return value > rank.value || (value == rank.value && index < rank.index);
}

/// The element at which the weights of those before `rank`, added up in the order of their indices, exceed `left`. sums: of their
/// blocks. Of rounding that lets none exceed it: the last of them.
std::size_t element_at(double left, std::span<const double> sums, std::span<const float> values, std::span<const float> weights,
                       kernels::Rank rank) {
  std::size_t last = 0, last_block = 0, block = 0;
  for (; block < sums.size(); ++block) {
    if (sums[block] > 0) last_block = block;
    if (left < sums[block]) break;
    left -= sums[block];
  }
  if (block == sums.size()) {
    block = last_block;
    left = sums[block];
  }
  const std::size_t end = std::min(values.size(), (block + 1) * kernels::kWeightBlock);
  for (std::size_t i = block * kernels::kWeightBlock; i < end; ++i) {
    if (!(weights[i] > 0) || !before(values[i], i, rank)) continue;
    last = i;
    left -= static_cast<double>(weights[i]);
    if (left < 0) return i;
  }
  return last;
}

/// The float32 nearest to x that is not below it.
float not_below(double x) {
  const auto nearest = static_cast<float>(x);
  return static_cast<double>(nearest) < x ? std::nextafter(nearest, std::numeric_limits<float>::infinity()) : nearest;
}

}  // namespace

/// Puts the k likeliest into kept_ and kept_tokens_. returns k.
std::size_t Sampler::keep_likeliest(const float* logits, std::size_t n, std::size_t k) {
  const float least = kth_largest(n, logits, k, kept_.data(), spare_.data());
  const std::size_t found = kernels::gather_from(n, logits, least, kept_.data(), kept_tokens_.data());
  if (found == k) return k;
  // Of those that equal the k-th the lowest ids stay.
  std::size_t larger = 0, end = 0;
  for (std::size_t i = 0; i < found; ++i) larger += kept_[i] > least;
  std::size_t equal = k - larger;
  for (std::size_t i = 0; i < found; ++i) {
    if (kept_[i] == least && equal == 0) continue;
    equal -= kept_[i] == least;
    kept_[end] = kept_[i];
    kept_tokens_[end++] = kept_tokens_[i];
  }
  return k;
}

std::int32_t Sampler::choose(std::span<const float> logits, std::uint64_t position) {
  std::size_t n = seen_.size();
  const float* z = penalized(logits.data());
  const float top = kernels::largest(n, z);
  if (!std::isfinite(top))
    fail("the model gives a logit that is {}; its weights are damaged or too large", top != top ? "NaN" : "infinite");
  if (options_.temperature == 0) return static_cast<std::int32_t>(kernels::first_equal(n, z, top));

  const auto k = static_cast<std::size_t>(options_.top_k);
  const bool cut = k > 0 && k < n;
  if (cut) {
    n = keep_likeliest(z, n, k);
    z = kept_.data();
  }
  // Below 1e-30 no two logits that differ have weights that do not differ beyond what can be drawn.
  const auto slope = static_cast<float>(1 / std::max(options_.temperature, 1e-30));
  kernels::exp_weights(n, z, top, slope, not_below(options_.min_p), weights_.data(), sums_.data());
  const std::span<const double> sums(sums_.data(), kernels::weight_blocks(n));
  const auto total_of = [&] {
    double total = 0;
    for (const double sum : sums) total += sum;
    return total;
  };
  const Rng rng(options_.seed, RandomUse::sample, position);
  const double all = total_of(), nucleus = options_.top_p * all;
  kernels::Rank rank{-std::numeric_limits<float>::infinity(), n};  // of which only those before it are drawn: all
  double total = all;
  for (std::uint64_t draw = 0;; ++draw) {
    const std::size_t chosen = element_at(rng.uniform(draw) * total, sums, {z, n}, {weights_.data(), n}, rank);
    const auto token = cut ? kept_tokens_[chosen] : static_cast<std::int32_t>(chosen);
    if (options_.top_p >= 1) return token;
    // Inside the nucleus if what stands before it has less than its mass. If not, the nucleus lies before it: draw there.
    rank = {z[chosen], chosen};
    kernels::sums_before(n, z, weights_.data(), rank, sums_.data());
    total = total_of();
    if (total < nucleus || total == 0) return token;
  }
}

}  // namespace lowbit::run
