#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lowbit/autograd/profile.h"
#include "lowbit/base/executor.h"
#include "lowbit/kernels/backward.h"
#include "lowbit/nn/llama.h"

// The only bridge from nn/ to tensors: each layer's forward is nn/'s, its backward is the formula of
// docs/reference/arithmetic.md, "Backward", and libtorch's autograd links them.
namespace lowbit::autograd {

/// One trained tensor: float32 master values and their gradient, of spec.shape(), contiguous. The backward passes add
/// to `grad` in place, so that gradients accumulate over micro-batches without copies.
struct Parameter {
  model::TensorSpec spec;
  at::Tensor value;
  at::Tensor grad;
  std::size_t number = 0;     ///< its place in the model's list
  bool stored = true;         ///< in the model's file, not only the optimizer's
  Parameter* gain = nullptr;  ///< of one value, which multiplies all of these before they are coded or rounded; or null

  float factor() const { return gain ? *gain->value.const_data_ptr<float>() : 1.0f; }
};

/// What fixes the random bits of int8 backward products, beside the tensor: never how often anything ran before.
struct Draws {
  std::uint64_t seed = 0, step = 0, micro_batch = 0;
  std::size_t rows =
      0;  ///< of all micro-batches of the step, which learned steps scale their gradient by; 0: of the one
};

/// What a learned step begins with, from the values that it is for, and the offset of inputs.
/// lsq, pact: 2 mean|x| / sqrt(q), q the largest whole level; 1 at 1 bit. lsq+: the grid's step that is best for a
/// normal variable of the values' deviation, around their mean (weights: of their RMS, around 0); lsq+code: of their
/// RMS, from the least of them up. adabin's inputs begin as lsq+'s. source  LSQ, Esser et al. 2020, arXiv 1902.08153,
/// section 2.1; LSQ+, Bhalgat et al. 2020, arXiv 2004.09576, section 3.3 (least squared error).
class FirstStep {
 public:
  /// x [rows, k], rotated in groups before it is looked at.
  void see(Executor& executor, int group, std::size_t rows, std::size_t k, const float* x);
  float step(Estimator estimator, const Grid& grid, bool input) const;
  float offset(Estimator estimator, const Grid& grid) const;

 private:
  double mean() const { return sum_ / count_; }
  double count_ = 0, magnitudes_ = 0, sum_ = 0, squares_ = 0, least_ = 0;
};

class LinearGroup;
/// Sees what layers that read the same input have been given, after it was prepared: x [rows, k].
using InputObserver = std::function<void(const LinearGroup& group, const float* x, std::size_t rows)>;

/// What every layer's Function needs to know.
struct Context {
  Executor* executor;
  /// Of the backward products. int8: of those that have codes on the other side; the rest are bf16.
  kernels::Precision precision;
  Profile* profile = nullptr;    ///< where the time of each layer is noted, or null
  bool recompute = false;        ///< products of the forward pass are done again on the backward pass instead of kept
  const Draws* draws = nullptr;  ///< required for int8
  const InputObserver* observer = nullptr;
  Estimator estimator = Estimator::trust;  ///< of the blocks' layers
  /// What products of two float operands compute in.
  kernels::Precision float_precision() const {
    return precision == kernels::Precision::int8 ? kernels::Precision::bf16 : precision;
  }
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
  /// Takes x [rows, k] in the form that the products read, kept until the next call.
  void prepare(const float* x, std::size_t rows, bool want_mask);
  /// Writes rows [first, first + count) of x to `to`, [count, k].
  using MakeRows = std::function<void(std::size_t first, std::size_t count, float* to)>;
  /// The same of an x that is never in memory as a whole: each task makes some rows and codes them while they are in
  /// its cache. Requires !wants_whole_input().
  void prepare_made(std::size_t rows, bool want_mask, const MakeRows& make);
  /// Whether x must live as a whole: it is read again (reads_values()) or observed.
  bool wants_whole_input() const { return reads_values() || context_.observer; }
  /// One [rows, n] for each layer, from what was prepared.
  void multiply_into(std::span<float* const> y);
  /// The products of this format read x itself, so it must live until the backward pass; others keep a form of their
  /// own.
  bool reads_values() const;
  /// Learned steps of each layer and of their input (null: it is not coded), and its offset or null. A step of 0 is
  /// set, with its offset, by what it meets first.
  void set_steps(std::vector<Parameter*> weights, Parameter* input, Parameter* input_offset);
  nn::LinearInput& input() { return input_; }
  /// dy [rows, n] of each layer, dx [rows, k] (not accumulated); adds to the parameters' gradients.
  /// piece   counts the calls for one micro-batch, where its rows come in several.
  void backward_into(std::span<const float* const> dy, float* dx, std::uint64_t piece = 0);
  /// The same in two steps: all but the backward pass through the coding of x; and that, for rows [first,
  /// first + count) of dx, from any thread.
  void products_back_into(std::span<const float* const> dy, float* dx, std::uint64_t piece = 0);
  void through_coding(std::size_t first, std::size_t count, float* dx) const;
  const nn::LinearInput& input() const { return input_; }
  void set_profile(Profile* profile) { context_.profile = profile; }
  void set_observer(const InputObserver* observer) { context_.observer = observer; }
  const std::vector<Parameter*>& parameters() const { return parameters_; }
  const std::vector<const nn::LinearWeights*>& weights() const { return weights_; }
  /// Shares of masked entries of the last forward pass. Requires coded weights with masks.
  void count_masks(std::vector<MaskShare>& shares) const;

 private:
  kernels::BackwardOperand weight_operand(std::size_t i);
  kernels::BackwardOperand input_operand();
  /// C [m, n] (+)= A B in the precision asked for. stream: tells apart the products that draw random bits in a step.
  void multiply(std::uint64_t stream, std::size_t m, std::size_t n, std::size_t k, const kernels::BackwardOperand& a,
                const kernels::BackwardOperand& b, float* c, std::size_t c_stride, bool accumulate);
  /// dx (+)= dy . wq, slice after slice where the weights have several: a slice's scales belong to its columns of dx.
  void multiply_weights(std::uint64_t stream, std::size_t i, const float* dy, float* dx, bool accumulate);
  Context context_;
  std::vector<const nn::LinearWeights*> weights_;
  std::vector<Parameter*> parameters_;
  nn::LinearInput input_;
  /// What this layer's product adds to the gradients: of the weight, and of its gain. d: [n, k], gradient of what the
  /// product read (rotated, unmasked); overwritten.
  void add_weight_gradient(std::size_t i, float* d);
  /// Adds to the gradient of a learned step and its offset (or null). g: of the coded values; x: not rotated; both
  /// [rows, k].
  void add_step_gradient(Parameter& step, Parameter* offset, const SideCoding& side, int group, std::size_t rows,
                         std::size_t all_rows, std::size_t k, const float* g, const float* x,
                         const std::uint8_t* codes);
  /// AdaBin's way back through an input's two values: g [rows, k] becomes the gradient of x H; x: not rotated.
  void add_adabin_gradient(const SideCoding& side, int group, std::size_t rows, std::size_t all_rows, std::size_t k,
                           float* g, const float* x);
  /// And through a weight's, d [n, k] as in add_weight_gradient.
  void through_deviation(std::size_t i, float* d);
  std::vector<Parameter*> weight_steps_;
  Parameter *input_step_ = nullptr, *input_offset_ = nullptr;
  Buffer<float> rotated_;
  Buffer<double> column_sums_;
  Buffer<float> float_weight_, unit_scale_, rounded_input_, weight_grad_, scaled_weight_, slice_scale_;
};

/// The residual stream's token rows: [rows, width].
at::Tensor embed(const Context& context, const nn::Embedding& embedding, Parameter& table,
                 std::span<const std::int32_t> ids);
at::Tensor rms_norm(const Context& context, const at::Tensor& x, Parameter& weight, float eps);
/// A teacher's distribution as a part of every token's target.
struct SoftTargets {
  LinearGroup* head = nullptr;  ///< the teacher's; null: there is none
  at::Tensor x;                 ///< [rows, its width]: what its head reads
  float weight = 0;             ///< of its distribution; the token has the rest
};
/// Head and cross-entropy in chunks of rows, so that the logits never stand in memory as a whole: the gradient is
/// formed in the forward pass. losses: [rows], nats, in double (reference.h cross_entropy_row). scale: what each
/// token's loss is multiplied by in the objective. returns a scalar tensor for backward().
at::Tensor head_loss(const Context& context, LinearGroup& head, const at::Tensor& x,
                     std::span<const std::int32_t> targets, float scale, std::span<double> losses,
                     const SoftTargets& soft = {});

}  // namespace lowbit::autograd
