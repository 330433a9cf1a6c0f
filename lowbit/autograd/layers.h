#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lowbit/autograd/profile.h"
#include "lowbit/base/executor.h"
#include "lowbit/kernels/backward.h"
#include "lowbit/nn/llama.h"

// The only bridge from nn/ to tensors: each layer's forward is nn/'s, its backward is the formula of
// docs/numerics.md, "Backward", and libtorch's autograd links them.
namespace lowbit::autograd {

/// One trained tensor: float32 master values and their gradient, of spec.shape(), contiguous. The backward passes add to
/// `grad` in place, so that gradients accumulate over micro-batches without copies.
struct Parameter {
  model::TensorSpec spec;
  at::Tensor value;
  at::Tensor grad;
};

/// What every layer's Function needs to know.
struct Context {
  Executor* executor;
  kernels::Precision precision;  ///< of the backward products
  Profile* profile = nullptr;    ///< where the time of each layer is noted, or null
};

/// Masked entries of one linear layer, filled while `MaskCounter` is attached.
struct MaskShare {
  std::string layer;
  double weight = 0, input = 0;
};

/// Linear layers that read the same input (q, k, v; gate, up; o; down). Holds the coded input from forward to backward.
class LinearGroup {
 public:
  LinearGroup(Context context, std::vector<const nn::LinearWeights*> weights, std::vector<Parameter*> parameters);
  /// x [rows, k] -> one [rows, n] for each layer.
  std::vector<at::Tensor> forward(const at::Tensor& x);
  /// dx [rows, k]; adds to the parameters' gradients. Called by autograd.
  at::Tensor backward(const std::vector<at::Tensor>& dy);
  nn::LinearInput& input() { return input_; }
  void forward_into(const float* x, std::size_t rows, std::span<float* const> y, bool want_mask);
  /// The same from raw rows: dy [rows, n] of each layer, dx [rows, k] (not accumulated).
  void backward_into(std::span<const float* const> dy, float* dx);
  void set_profile(Profile* profile) { context_.profile = profile; }
  const std::vector<Parameter*>& parameters() const { return parameters_; }
  const std::vector<const nn::LinearWeights*>& weights() const { return weights_; }
  /// Shares of masked entries of the last forward pass. Requires coded weights with masks.
  void count_masks(std::vector<MaskShare>& shares) const;

 private:
  kernels::BackwardOperand weight_operand(std::size_t i);
  kernels::BackwardOperand input_operand();
  Context context_;
  std::vector<const nn::LinearWeights*> weights_;
  std::vector<Parameter*> parameters_;
  nn::LinearInput input_;
  Buffer<float> rounded_weight_, rounded_input_, weight_grad_;
};

/// The residual stream's token rows: [rows, width].
at::Tensor embed(const Context& context, const nn::Embedding& embedding, Parameter& table, std::span<const std::int32_t> ids);
at::Tensor rms_norm(const Context& context, const at::Tensor& x, Parameter& weight, float eps);
/// x + y.
at::Tensor add(const Context& context, const at::Tensor& x, const at::Tensor& y);
at::Tensor swiglu(const Context& context, const at::Tensor& gate, const at::Tensor& up);

/// Rotary positions and causal attention over sequences of equal length that each begin at position 0.
class Attention {
 public:
  Attention(Context context, const nn::LlamaWeights& weights);
  /// q [rows, heads * d], k and v [rows, kv_heads * d]; q and k are rotated in place. rows = sequences * length.
  at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::size_t length);
  void set_profile(Profile* profile) { context_.profile = profile; }

 private:
  friend struct AttentionFunction;
  Context context_;
  const nn::LlamaWeights& weights_;
  Buffer<std::byte> cache_;
  std::vector<kernels::KeyValues> caches_;
  std::vector<std::int32_t> positions_;
  std::vector<kernels::AttentionJob> jobs_;
  std::vector<kernels::AttentionBackwardJob> backward_jobs_;
  std::size_t length_ = 0;
};

/// Head and cross-entropy in chunks of rows, so that the logits never stand in memory as a whole: the gradient is formed
/// in the forward pass. losses: [rows], nats, in double (reference.h cross_entropy_row). scale: what each token's loss is
/// multiplied by in the objective. returns a scalar tensor for backward().
at::Tensor head_loss(const Context& context, LinearGroup& head, const at::Tensor& x, std::span<const std::int32_t> targets,
                     float scale, std::span<double> losses);

}  // namespace lowbit::autograd
