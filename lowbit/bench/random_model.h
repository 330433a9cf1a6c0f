#pragma once
#include <cstdint>
#include <vector>

#include "lowbit/nn/llama.h"

namespace lowbit::bench {

/// Random weights of a shape, made coded where the format is: nothing larger than one tensor stands in memory as
/// floats. The same seed gives the same model, whatever the threads. Values have about unit variance over a row's sum,
/// so activations stay in range. positions   how many the rotary table covers.
nn::LlamaWeights random_llama(Executor& executor, const model::Config& config, const Scheme& scheme,
                              std::size_t positions, std::uint64_t seed);

/// One linear layer [n, k]; id tells layers of one seed apart.
void random_linear(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                   std::uint64_t seed, std::uint64_t id, nn::LinearWeights& weights);

/// Most bytes that random_llama takes while it works, at one byte a weight for coded layers.
double bytes_needed(const model::Config& config, const Scheme& scheme);
/// throws Error(input) when so many bytes are more than this process may still take. what: "llama-1b as w4a8".
void require_memory(double bytes, std::string_view what);

/// Any tokens below the vocabulary; those of a seed are the same every time.
std::vector<std::int32_t> random_tokens(std::int64_t vocab, std::size_t count, std::uint64_t seed);

}  // namespace lowbit::bench
