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
  if (!(o.temperature >= 0 && o.temperature <= 100))
    fail_usage("--temperature must lie in [0, 100], not {}", o.temperature);
  if (o.top_k < 0) fail_usage("--top-k must not be negative (0 keeps all), not {}", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1)) fail_usage("--top-p must lie in (0, 1], not {}", o.top_p);
  if (!(o.min_p >= 0 && o.min_p < 1)) fail_usage("--min-p must lie in [0, 1), not {}", o.min_p);
  if (!(o.repetition_penalty > 0 && o.repetition_penalty <= 100))
    fail_usage("--repetition-penalty must lie in (0, 100] (1 changes nothing), not {}", o.repetition_penalty);
}

namespace {

// A thread takes so many elements at a time: whole blocks of weights, whose sums do not depend on who forms them.
constexpr std::size_t kChunk = 8 * kernels::kWeightBlock, kChunkPitch = kChunk + kernels::kGatherSlack;
constexpr std::size_t chunks_of(std::size_t n) { return (n + kChunk - 1) / kChunk; }

}  // namespace

Sampler::Sampler(const SamplerOptions& options, std::size_t vocabulary, Executor* executor)
    : options_(options), executor_(executor), parts_(chunks_of(vocabulary)), seen_(vocabulary, 0) {
  check(options);
  const std::size_t room = chunks_of(vocabulary) * kChunkPitch;
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

template <class F>
void Sampler::for_chunks(std::size_t n, F f) {
  const auto task = [&](std::size_t chunk) { f(chunk, chunk * kChunk, std::min(kChunk, n - chunk * kChunk)); };
  const std::size_t count = chunks_of(n);
  if (executor_ && count > 1)
    executor_->parallel_for(count, task);
  else
    for (std::size_t chunk = 0; chunk < count; ++chunk) task(chunk);
}

void Sampler::see(std::int32_t token) {
  char& seen = seen_[static_cast<std::size_t>(token)];
  if (!seen && options_.repetition_penalty != 1) seen_tokens_.push_back(token);
  seen = 1;
}

const float* Sampler::penalized(const float* logits) {
  if (seen_tokens_.empty()) return logits;
  for_chunks(seen_.size(), [&](std::size_t, std::size_t first, std::size_t count) {
    std::copy_n(logits + first, count, logits_.data() + first);
  });
  for (const std::int32_t token : seen_tokens_) {
    float& z = logits_[static_cast<std::size_t>(token)];
    const auto exact = static_cast<double>(z);
    z = static_cast<float>(z > 0 ? exact / options_.repetition_penalty : exact * options_.repetition_penalty);
  }
  return logits_.data();
}

float Sampler::largest(std::size_t n, const float* x) {
  for_chunks(n, [&](std::size_t chunk, std::size_t first, std::size_t count) {
    parts_[chunk].most = kernels::largest(count, x + first);
  });
  float most = parts_[0].most;
  for (std::size_t chunk = 1; chunk < chunks_of(n); ++chunk) {
    const float other = parts_[chunk].most;
    if (other != other || other > most) most = other;
    if (most != most) break;
  }
  return most;
}

/// kernels::gather_between by chunks.
std::size_t Sampler::gather(std::size_t n, const float* x, float low, float high, float* out, std::size_t& above) {
  for_chunks(n, [&](std::size_t chunk, std::size_t first, std::size_t count) {
    Part& part = parts_[chunk];
    part.count = kernels::gather_between(count, x + first, low, high, out + chunk * kChunkPitch, part.above);
  });
  std::size_t total = 0;
  above = 0;
  for (std::size_t chunk = 0; chunk < chunks_of(n); ++chunk) {
    const Part& part = parts_[chunk];
    if (chunk > 0) std::copy_n(out + chunk * kChunkPitch, part.count, out + total);
    total += part.count;
    above += part.above;
  }
  return total;
}

/// The sums of the weights of those that stand before this rank, into sums_.
void Sampler::sum_before(std::size_t n, const float* x, float value, std::size_t index) {
  for_chunks(n, [&](std::size_t, std::size_t first, std::size_t count) {
    const std::size_t at = index > first ? index - first : 0;
    kernels::sums_before(count, x + first, weights_.data() + first, {value, at},
                         sums_.data() + first / kernels::kWeightBlock);
  });
}

/// The k-th largest of n values, 0 < k <= n, none of them NaN. A sample tells between which two values it most likely
/// lies; what lies there is copied, and so on until few are left.
float Sampler::kth_largest(std::size_t n, const float* x, std::size_t k) {
  float *const a = kept_.data(), *const b = spare_.data();
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
    std::size_t count = gather(n, from, low, high, to, above);
    if (k <= above) {  // the sample misled: it is one of those above
      count = gather(n, from, high, kInfinity, to, above);
    } else if (k > above + count) {  // or below
      count = gather(n, from, -kInfinity, low, to, above);
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

namespace {

bool before(float value, std::size_t index, kernels::Rank rank) {
  return value > rank.value || (value == rank.value && index < rank.index);
}

/// The element at which the weights of those before `rank`, added up in the order of their indices, exceed `left`.
/// sums: of their blocks. Of rounding that lets none exceed it: the last of them.
std::size_t element_at(double left, std::span<const double> sums, std::span<const float> values,
                       std::span<const float> weights, kernels::Rank rank) {
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
  const float least = kth_largest(n, logits, k);
  for_chunks(n, [&](std::size_t chunk, std::size_t first, std::size_t count) {
    const std::size_t at = chunk * kChunkPitch;
    std::size_t& gathered = parts_[chunk].count;
    gathered = kernels::gather_from(count, logits + first, least, kept_.data() + at, kept_tokens_.data() + at);
    for (std::size_t i = 0; i < gathered; ++i) kept_tokens_[at + i] += static_cast<std::int32_t>(first);
  });
  std::size_t found = 0;
  for (std::size_t chunk = 0; chunk < chunks_of(n); ++chunk) {
    const std::size_t at = chunk * kChunkPitch, gathered = parts_[chunk].count;
    if (at > found) {
      std::copy_n(kept_.data() + at, gathered, kept_.data() + found);
      std::copy_n(kept_tokens_.data() + at, gathered, kept_tokens_.data() + found);
    }
    found += gathered;
  }
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
  const float top = largest(n, z);
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
  const float least = not_below(options_.min_p);
  for_chunks(n, [&](std::size_t, std::size_t first, std::size_t count) {
    kernels::exp_weights(count, z + first, top, slope, least, weights_.data() + first,
                         sums_.data() + first / kernels::kWeightBlock);
  });
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
    // Inside the nucleus if what stands before it has less than its mass. If not, the nucleus lies before it: draw
    // there.
    rank = {z[chosen], chosen};
    sum_before(n, z, rank.value, rank.index);
    total = total_of();
    if (total < nucleus || total == 0) return token;
  }
}

}  // namespace lowbit::run
