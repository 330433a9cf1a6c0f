#pragma once
#include <array>
#include <cstdint>

namespace lowbit {

/// What random numbers are for. The number is part of every stream: never reuse or renumber one.
enum class RandomUse : std::uint32_t {
  init = 1,       ///< initial weights; step 0, index = tensor id * 2^32 + element
  shuffle = 2,    ///< order of the training windows; step = epoch
  sample = 3,     ///< the sampler of `run`; step = position
  bootstrap = 4,  ///< resampled documents of an interval; step = resample
  offset = 5,     ///< where an epoch's windows begin; step = epoch
  test = 6,       ///< tests and benchmarks
  stochastic_rounding = 7,
  split = 8,      ///< which documents are held out
  sensitivity = 9,  ///< noise in a layer's weights; step of the run, index = tensor id * 2^32 + element
};

/// Counter-based random numbers: Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
/// Draw i of a stream is a function of (seed, use, step, i) alone, so it does not matter who draws first.
class Rng {
 public:
  explicit Rng(std::uint64_t seed, RandomUse use = RandomUse::test, std::uint64_t step = 0)
      : seed_(seed), step_(step), use_(use) {}

  /// Four independent 32-bit words; block is the counter.
  std::array<std::uint32_t, 4> block(std::uint64_t block) const;

  /// Draw `index`, uniform over 64 bits.
  std::uint64_t bits(std::uint64_t index) const;
  /// Draw `index`, uniform in [0, 1), a multiple of 2^-53.
  double uniform(std::uint64_t index) const;
  /// Draw `index`, uniform in [0, bound), without bias worth naming (2^-64 * bound). bound > 0.
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const;
  /// Draw `index` from N(0, 1): Box-Muller on two uniforms, with our own log and cos, so the same on every machine.
  double normal(std::uint64_t index) const;

 private:
  std::uint64_t seed_;
  std::uint64_t step_;
  RandomUse use_;
};

/// Philox-4x32-10 itself, for tests against its published vectors.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Element i of a permutation of [0, n) fixed by the generator: a Feistel network walked until it lands inside, so a
/// shuffled epoch needs no table. n > 0, i < n.
std::uint64_t permute(const Rng& rng, std::uint64_t i, std::uint64_t n);

}  // namespace lowbit
