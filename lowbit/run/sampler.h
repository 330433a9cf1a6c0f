#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "lowbit/base/executor.h"

namespace lowbit::run {

struct SamplerOptions {
  double temperature = 0;          ///< 0: always the likeliest token
  std::int64_t top_k = 0;          ///< keep the k likeliest; 0: all
  double top_p = 1;                ///< keep the likeliest that together have this probability
  double min_p = 0;                ///< drop what is less likely than this share of the likeliest
  double repetition_penalty =
      1;  ///< > 1 makes tokens that stand in the text less likely (Keskar et al. 2019, CTRL, sec. 4.1)
  std::uint64_t seed = 0;
};
/// throws Error(usage) that names the flag.
void check(const SamplerOptions& options);

/// Chooses tokens from logits. The choice is a function of (logits, options, position, tokens seen) alone: the same on
/// every machine, instruction set and number of threads. Filters apply in this order: repetition penalty, temperature,
/// top-k, min-p, top-p. Nothing is sorted (docs/reference/arithmetic.md, "Sampling"). Allocates nothing after it is
/// made.
class Sampler {
 public:
  /// executor   whose threads share the passes over a large vocabulary; null: none.
  Sampler(const SamplerOptions& options, std::size_t vocabulary, Executor* executor = nullptr);

  /// Counts a token as standing in the text (prompt and output), for the repetition penalty.
  void see(std::int32_t token);
  /// The token at `position` of the text; ties go to the lower id. logits: [vocabulary].
  /// throws Error(failure): a logit is NaN, or the largest is not finite.
  std::int32_t choose(std::span<const float> logits, std::uint64_t position);

 private:
  /// Calls f(chunk, first element, how many) for all chunks of n elements.
  template <class F>
  void for_chunks(std::size_t n, F f);
  const float* penalized(const float* logits);
  float largest(std::size_t n, const float* x);
  std::size_t gather(std::size_t n, const float* x, float low, float high, float* out, std::size_t& above);
  float kth_largest(std::size_t n, const float* x, std::size_t k);
  void sum_before(std::size_t n, const float* x, float value, std::size_t index);
  std::size_t keep_likeliest(const float* logits, std::size_t n, std::size_t k);

  SamplerOptions options_;
  Executor* executor_;
  struct Part {
    std::size_t count = 0, above = 0;
    float most = 0;
  };
  std::vector<Part> parts_;                ///< what each chunk found
  std::vector<char> seen_;                 ///< [vocabulary]
  std::vector<std::int32_t> seen_tokens_;  ///< each once
  std::vector<float> logits_;              ///< with the penalty
  std::vector<float> weights_;
  std::vector<double> sums_;               ///< of blocks of weights
  std::vector<float> kept_, spare_;        ///< logits of the k likeliest, in the order of their ids; room to find them
  std::vector<std::int32_t> kept_tokens_;
};

}  // namespace lowbit::run
