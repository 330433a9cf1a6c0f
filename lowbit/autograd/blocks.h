#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

#include "lowbit/autograd/layers.h"

// The two halves of a Llama block, each one Function: what lies between its kernels is not seen by libtorch, so that no
// gradient is copied or summed by it and only what the backward pass reads is kept.
namespace lowbit::autograd {

/// What one sequence's keys and values take during the forward pass; shared by all blocks, since each is done with it
/// when the next begins.
class AttentionMemory {
 public:
  /// Room for so many sequences from position 0.
  void reserve(const kernels::AttentionShape& shape, std::size_t sequences, std::size_t length);
  const std::vector<kernels::KeyValues>& caches() const { return caches_; }
  const std::int32_t* positions() const { return positions_.data(); }
  std::vector<kernels::AttentionJob> jobs;
  std::vector<kernels::AttentionBackwardJob> backward_jobs;

 private:
  std::size_t length_ = 0, bytes_ = 0;
  Buffer<std::byte> memory_;
  std::vector<kernels::KeyValues> caches_;
  std::vector<std::int32_t> positions_;
};

/// x + o(attention(rope(q), rope(k), v)) of the normed x, over sequences of equal length that each begin at position 0.
class AttentionBlock {
 public:
  /// layer   of `weights`.  q_norm, k_norm   null where the model has none.
  AttentionBlock(const nn::LlamaWeights& weights, std::size_t layer, AttentionMemory& memory, Parameter& norm,
                 Parameter* q_norm, Parameter* k_norm, LinearGroup qkv, LinearGroup o);
  /// x [rows, width] -> [rows, width]; rows = sequences * length.
  at::Tensor forward(const Context& context, const at::Tensor& x, std::size_t length);
  LinearGroup& qkv() { return qkv_; }
  LinearGroup& o() { return o_; }
  const LinearGroup& qkv() const { return qkv_; }
  const LinearGroup& o() const { return o_; }

 private:
  friend struct AttentionBlockFunction;
  /// q, k, v from the coded input: heads normed, positions rotated, rounded as the attention's format asks. Where heads
  /// are normed, behind them q and k before that and 1 / rms of each of their heads.
  std::vector<at::Tensor> project(const Context& context, std::size_t rows);
  /// dq and dk from those of normed heads; adds to the norms' gradients.
  void norm_heads_backward(const Context& context, std::span<const at::Tensor> projected, const at::Tensor& dq,
                           const at::Tensor& dk);

  const nn::LlamaWeights& weights_;
  std::size_t layer_;
  AttentionMemory& memory_;
  Parameter& norm_;
  Parameter *q_norm_, *k_norm_;
  LinearGroup qkv_, o_;
};

/// x + down(swiglu(gate, up)) of the normed x.
class MlpBlock {
 public:
  MlpBlock(const nn::LlamaWeights& weights, Parameter& norm, LinearGroup gate_up, LinearGroup down);
  at::Tensor forward(const Context& context, const at::Tensor& x);
  LinearGroup& gate_up() { return gate_up_; }
  LinearGroup& down() { return down_; }
  const LinearGroup& gate_up() const { return gate_up_; }
  const LinearGroup& down() const { return down_; }

 private:
  friend struct MlpBlockFunction;
  const nn::LlamaWeights& weights_;
  Parameter& norm_;
  LinearGroup gate_up_, down_;
};

}  // namespace lowbit::autograd
