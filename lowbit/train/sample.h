#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "lowbit/base/executor.h"
#include "lowbit/nn/llama.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::train {

/// A short text that the model writes from its begin token, for a person to look at: temperature 0.8, top-p 0.95, drawn
/// from (seed, sample, position + step * 2^32).
std::string draw_sample(Executor& executor, const nn::LlamaWeights& weights, const text::Tokenizer& tokenizer,
                        std::size_t tokens, std::uint64_t seed, std::uint64_t step);

}  // namespace lowbit::train
