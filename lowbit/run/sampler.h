#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace lowbit::run {

struct SamplerOptions {
  double temperature = 0;          ///< 0: always the likeliest token
  std::int64_t top_k = 0;          ///< keep the k likeliest; 0: all
  double top_p = 1;                ///< keep the likeliest that together have this probability
  double min_p = 0;                ///< drop what is less likely than this share of the likeliest
  double repetition_penalty = 1;   ///< > 1 makes tokens that stand in the text less likely (Keskar et al. 2019, CTRL, sec. 4.1)
  std::uint64_t seed = 0;
};
/// throws Error(usage) that names the flag.
void check(const SamplerOptions& options);

/// Chooses tokens from logits. Draw number i is a function of (seed, i) alone. Filters apply in this order: repetition
/// penalty, temperature, top-k, min-p, top-p. Allocates nothing after it is made.
class Sampler {
 public:
  Sampler(const SamplerOptions& options, std::size_t vocabulary);

  /// Counts a token as standing in the text (prompt and output), for the repetition penalty.
  void see(std::int32_t token);
  /// The token at `position` of the text; ties go to the lower id. logits: [vocabulary].
  std::int32_t choose(std::span<const float> logits, std::uint64_t position);

 private:
  struct Candidate {
    double probability;  ///< not normalized: 1 for the likeliest
    std::int32_t token;
  };
  double adjusted(std::span<const float> logits, std::size_t token) const;
  SamplerOptions options_;
  std::vector<char> seen_;
  std::vector<Candidate> candidates_;
};

}  // namespace lowbit::run
