#pragma once
#include <cstdint>
#include <vector>

#include "lowbit/bench/measure.h"
#include "lowbit/machine/model.h"
#include "lowbit/run/engine.h"

namespace lowbit::bench {

/// Tokens per second of a whole model, beside the ceiling that bounds it.
struct Speed {
  Figure tokens_per_second;
  Ceiling bound = Ceiling::int8;
  double amount_per_token = 0;  ///< prefill: operations of the blocks' weights; decode: bytes read, shared by the batch
  Beside beside;
};

/// A prompt of so many tokens from an empty sequence, head for the last one only. Share: operations (2 for a product of
/// bytes or floats) x (weights of the blocks) x tokens/s over the peak of the units that multiply them.
/// chunk   tokens computed at once.  throws Interrupted; Error(input): longer than the model's context.
Speed measure_prefill(Executor& executor, CeilingMeter& meter, const nn::LlamaWeights& weights, std::size_t tokens,
                      std::size_t chunk, int rounds);

/// So many tokens, one after another, behind `context` others, in `batch` sequences computed together. Share: bytes
/// read (weights of blocks and head, keys and values) per second over the bandwidth of the level they lie in.
/// tokens_per_second counts those of all sequences.
Speed measure_decode(Executor& executor, CeilingMeter& meter, const nn::LlamaWeights& weights, std::size_t tokens,
                     std::size_t context, std::size_t batch, int rounds);

/// Bytes of sequences and buffers that these take beside the weights.
double generation_bytes(const model::Config& config, AttentionFormat attention, std::size_t positions, std::size_t rows,
                        std::size_t batch);

}  // namespace lowbit::bench
