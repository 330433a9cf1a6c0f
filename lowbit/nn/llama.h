#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lowbit/kernels/attention.h"
#include "lowbit/kernels/elementwise.h"
#include "lowbit/model/config.h"
#include "lowbit/nn/embedding.h"
#include "lowbit/nn/linear.h"

namespace lowbit::nn {

struct BlockWeights {
  Buffer<float> input_norm, mlp_norm;
  Buffer<float> q_norm, k_norm;  ///< [head_dim] with config.qk_norm, else empty
  LinearWeights q, k, v, o, gate, up, down;
  std::array<float, 7> step{}, input_step{}, input_offset{};  ///< learned, of each linear role from q on
  /// In the order of LayerKind.
  std::array<const LinearWeights*, 7> linears() const { return {&q, &k, &v, &o, &gate, &up, &down}; }
};

/// Everything a forward pass reads, prepared. Both engines build it: from a model folder (run/) or from the optimizer's
/// master weights (train/).
struct LlamaWeights {
  model::Config config;
  Scheme scheme;
  Embedding embedding;
  std::vector<BlockWeights> blocks;
  Buffer<float> final_norm;
  LinearWeights head;
  kernels::RopeTable rope;

  kernels::AttentionShape attention_shape() const;
  /// The linear layer of a role in a block.
  static LinearWeights& linear_of(BlockWeights& block, model::TensorRole role);
  static const LinearWeights& linear_of(const BlockWeights& block, model::TensorRole role);
  /// Bytes held for the forward pass.
  std::size_t bytes() const;
};

/// An empty model of this shape with its rotary table for `positions` positions.
LlamaWeights make_llama(const model::Config& config, const Scheme& scheme, std::size_t positions);

/// Sets a learned step or offset, before the tensors of its layer are set.
void set_step(LlamaWeights& weights, const model::StepSpec& spec, float value);
/// Sets one tensor from float values (row-major, spec.shape()). A tied embedding sets the head too.
void set_tensor(Executor& executor, LlamaWeights& weights, const model::TensorSpec& spec, const float* values,
                LinearWeights::Keep keep);
/// Sets one tensor from stored codes.
void set_coded_tensor(Executor& executor, LlamaWeights& weights, const model::TensorSpec& spec,
                      std::span<const std::uint8_t> canonical, std::span<const float> scale,
                      std::span<const float> offset = {});

/// Buffers of one forward pass over up to `rows` rows; allocated once.
struct Workspace {
  Workspace(const LlamaWeights& weights, std::size_t rows);
  std::size_t rows;
  Buffer<float> x, normed, q, k, v, attended, projected, gate, up, hidden;
  Buffer<std::int32_t> positions;
  LinearInput block_input, attention_output, mlp_input, mlp_hidden, head_input;
};

/// Sequences whose rows are computed together: `rows` consecutive tokens at positions first .. of the sequence whose
/// keys and values lie in `cache` (one KeyValues a layer).
struct SequenceRows {
  std::span<const kernels::KeyValues> cache;
  std::size_t first = 0, rows = 0;
};

/// With config.qk_norm: RMSNorm of each head of q [rows, heads * head_dim] and k [rows, kv_heads * head_dim], in place,
/// before the rotation. q_inv [rows * heads] and k_inv, unless null, receive 1 / rms.
void norm_heads(Executor& executor, const LlamaWeights& weights, const BlockWeights& block, std::size_t rows, float* q,
                float* k, float* q_inv = nullptr, float* k_inv = nullptr);

/// Runs the blocks over rows of embedded tokens: workspace.x in, workspace.x out (before the final norm). Rows of the
/// sequences follow each other in x. Allocates nothing. on_layer, if set, sees x after each block (to find a NaN).
void forward_blocks(Executor& executor, const LlamaWeights& weights, std::span<const SequenceRows> sequences,
                    Workspace& workspace, std::vector<kernels::AttentionJob>& jobs,
                    const std::function<void(std::size_t layer, std::span<const float> x)>& on_layer = {});

/// Final norm and head over rows begin .. begin + rows - 1 of workspace.x: logits [rows, vocabulary].
void forward_head(Executor& executor, const LlamaWeights& weights, Workspace& workspace, std::size_t begin,
                  std::size_t rows, float* logits);

}  // namespace lowbit::nn
