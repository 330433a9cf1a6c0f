#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "lowbit/autograd/blocks.h"

namespace lowbit::autograd {

/// A Llama that can be trained: master parameters, the coded weights that the forward pass reads, and the layers that
/// link both to libtorch's autograd.
class Llama {
 public:
  /// positions   the longest sequence it will be trained or evaluated on.
  Llama(Executor& executor, const model::Config& config, const Scheme& scheme, kernels::Precision precision,
        std::size_t positions);
  Llama(const Llama&) = delete;
  /// Notes the time of each kind of work there from now on; null: nowhere. It must live as long as it is set.
  void set_profile(Profile* profile);
  /// From now on the forward pass keeps codes and the residual stream alone; q, k, v, gate and up are computed again on
  /// the backward pass, to the same bits.
  void set_recompute(bool recompute) { context_.recompute = recompute; }
  /// Random bits of the next accumulate(), where the backward products round stochastically (Precision::int8).
  void set_draws(const Draws& draws) { draws_ = draws; }

  /// The blocks' linear layers are coded so from the next refresh() on: bf16, or formats that the model's scheme
  /// allows.
  void set_format(const Format& format, std::vector<LayerFormat> layer_formats = {}) {
    weights_.scheme.format = format;
    weights_.scheme.layer_formats = std::move(layer_formats);
  }
  /// From now on the target of every token is (1 - weight) of the token itself and `weight` of the teacher's
  /// distribution. The losses that accumulate() writes stay those of the tokens. Requires the same vocabulary; it must
  /// live as long. source  Hinton et al. 2015, arXiv 1503.02531, at temperature 1.
  void set_teacher(Llama* teacher, float weight);
  /// w -= amount (w - Q(w)) for the blocks' linear weights, Q(w) the values that the last refresh() coded, rotated
  /// back.
  void pull_to_grid(double amount);
  /// dw += amount (w - Q(w)), of the same weights and Q(w).
  void damp(double amount);

  /// Normal draws of standard deviation 0.02, the two projections onto the residual stream 0.02 / sqrt(2 layers), norms
  /// 1 (QuEST, section 4). Counter-based: tensor t, element i is draw t * 2^32 + i of (seed, init).
  void initialize(std::uint64_t seed);

  std::deque<Parameter>& parameters() { return parameters_; }
  /// Gives every linear layer of the blocks a gain of 1: w_eff = gain * w is what is coded, served and stored as the
  /// weight.
  void add_gains();
  std::deque<Parameter>& gains() { return gains_; }
  /// Learned steps, where the estimator has them: model::step_tensors.
  std::deque<Parameter>& steps() { return steps_; }
  /// What the model's file holds of a parameter: value, times its gain.
  void stored_values(const Parameter& parameter, std::span<float> out) const;
  Parameter& parameter(std::string_view name);

  /// Codes the masters anew. Call after every change of the parameters; once per optimizer step.
  void refresh();
  /// The same of one of parameters() alone.
  void refresh(const Parameter& parameter);
  void zero_gradients();

  /// Forward and backward over `sequences` windows of `length` tokens: ids and targets [sequences * length]. Adds
  /// d(scale * sum of losses) to the gradients and writes each token's loss in nats.
  /// on_layer, if set, sees the residual stream after each block.
  void accumulate(std::span<const std::int32_t> ids, std::span<const std::int32_t> targets, std::size_t length,
                  float scale, std::span<double> losses);
  /// Logits of the training forward, as accumulate computes them: [ids, vocabulary]. For comparing engines bit by bit.
  void logits(std::span<const std::int32_t> ids, std::size_t length, float* out);
  /// Gradients of the tokens' mean loss with respect to the residual stream after each block: [rows * width] each.
  std::vector<std::vector<float>> block_gradients(std::span<const std::int32_t> ids,
                                                  std::span<const std::int32_t> targets, std::size_t length);
  /// Shows every input of the blocks' layers from now on; an empty function: no more.
  void set_observer(InputObserver observer);
  /// Index of the first block whose output holds a NaN or an infinity for these ids, or -1.
  std::int64_t first_bad_layer(std::span<const std::int32_t> ids, std::size_t length);

  /// Shares of masked entries in the last accumulate().
  std::vector<MaskShare> mask_shares() const;
  const nn::LlamaWeights& weights() const { return weights_; }
  Executor& executor() { return *context_.executor; }

 private:
  struct Block {
    AttentionBlock attention;
    MlpBlock mlp;
  };
  Parameter* step(std::string_view name);
  /// p.*to += times (w - Q(w)), for pull_to_grid and damp.
  void add_grid_error(at::Tensor Parameter::*to, float times);
  at::Tensor residual_stream(std::span<const std::int32_t> ids, std::size_t length,
                             const std::function<void(std::size_t, const at::Tensor&)>& on_layer = {});

  Draws draws_;
  InputObserver observer_;
  Llama* teacher_ = nullptr;
  float teacher_weight_ = 0;
  Buffer<float> decoded_;
  std::vector<std::int32_t> row_numbers_;
  Context context_;
  nn::LlamaWeights weights_;
  std::vector<model::StepSpec> step_specs_;
  std::deque<Parameter> steps_;  ///< in the order of step_specs_
  std::deque<Parameter> gains_;
  std::deque<Parameter> parameters_;  // of stable addresses: layers point to them
  AttentionMemory attention_memory_;
  std::deque<Block> blocks_;
  Parameter *embedding_, *final_norm_;
  std::unique_ptr<LinearGroup> head_;
};

}  // namespace lowbit::autograd
