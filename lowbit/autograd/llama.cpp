#include "lowbit/autograd/llama.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "lowbit/base/error.h"
#include "lowbit/base/rng.h"

namespace lowbit::autograd {

using model::TensorRole;

Llama::Llama(Executor& executor, const model::Config& config, const Scheme& scheme, kernels::Precision precision,
             std::size_t positions)
    : context_{&executor, scheme.format.kind == Format::Kind::f32 ? kernels::Precision::f32 : precision, nullptr, false,
               &draws_},
      weights_(nn::make_llama(config, scheme, positions)) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  for (const model::TensorSpec& spec : model::tensors(config)) {
    const auto shape = spec.shape();
    parameters_.push_back({spec, at::zeros(shape, options), at::zeros(shape, options), parameters_.size()});
    parameters_.back().value.set_requires_grad(true);
  }
  context_.estimator = scheme.estimator;
  step_specs_ = model::step_tensors(config, scheme);
  for (const model::StepSpec& spec : step_specs_)
    steps_.push_back({spec.tensor, at::zeros({1}, options), at::zeros({1}, options), steps_.size()});
  embedding_ = &parameter("model.embed_tokens.weight");
  final_norm_ = &parameter("model.norm.weight");
  for (std::size_t i = 0; i < weights_.blocks.size(); ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    const nn::BlockWeights& w = weights_.blocks[i];
    const auto group = [&](std::vector<const nn::LinearWeights*> linear, std::vector<std::string> names) {
      std::vector<Parameter*> list;
      for (const std::string& name : names) list.push_back(&parameter(at + name + ".weight"));
      LinearGroup made(context_, std::move(linear), std::move(list));
      if (!steps_.empty()) {
        std::vector<Parameter*> of_weights;
        for (const std::string& name : names) {
          Parameter* const own = step(at + name + ".step");
          of_weights.push_back(own ? own : step(at + names.front() + ".step"));  // shared
        }
        made.set_steps(std::move(of_weights), step(at + names.front() + ".input_step"),
                       step(at + names.front() + ".input_offset"));
      }
      return made;
    };
    blocks_.push_back(
        {AttentionBlock(weights_, i, attention_memory_, parameter(at + "input_layernorm.weight"),
                        config.qk_norm ? &parameter(at + "self_attn.q_norm.weight") : nullptr,
                        config.qk_norm ? &parameter(at + "self_attn.k_norm.weight") : nullptr,
                        group({&w.q, &w.k, &w.v}, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}),
                        group({&w.o}, {"self_attn.o_proj"})),
         MlpBlock(weights_, parameter(at + "post_attention_layernorm.weight"),
                  group({&w.gate, &w.up}, {"mlp.gate_proj", "mlp.up_proj"}), group({&w.down}, {"mlp.down_proj"}))});
  }
  Parameter& head = config.tied ? *embedding_ : parameter("lm_head.weight");
  // What was asked to be float32 is not rounded on the backward pass either: all of an f32 model, and an f32 head.
  Context head_context = context_;
  if (scheme.head.kind == Format::Kind::f32) head_context.precision = kernels::Precision::f32;
  head_ = std::make_unique<LinearGroup>(head_context, std::vector<const nn::LinearWeights*>{&weights_.head},
                                        std::vector<Parameter*>{&head});
}

Parameter& Llama::parameter(std::string_view name) {
  for (Parameter& p : parameters_)
    if (p.spec.name == name) return p;
  throw std::logic_error("no parameter " + std::string(name));
}

Parameter* Llama::step(std::string_view name) {
  for (Parameter& p : steps_)
    if (p.spec.name == name) return &p;
  return nullptr;
}

void Llama::initialize(std::uint64_t seed) {
  const Rng rng(seed, RandomUse::init);
  const double output_std = 0.02 / std::sqrt(2.0 * static_cast<double>(weights_.config.layers));
  for (std::size_t t = 0; t < parameters_.size(); ++t) {
    Parameter& p = parameters_[t];
    float* values = p.value.mutable_data_ptr<float>();
    const auto n = static_cast<std::size_t>(p.spec.elements());
    if (p.spec.role == TensorRole::norm) {
      std::fill_n(values, n, 1.0f);
      continue;
    }
    const bool onto_stream = p.spec.role == TensorRole::o || p.spec.role == TensorRole::down;
    const double std = onto_stream ? output_std : 0.02;
    constexpr std::size_t kChunk = std::size_t{1} << 14;
    executor().parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t chunk) {
      for (std::size_t i = chunk * kChunk; i < std::min(n, (chunk + 1) * kChunk); ++i)
        values[i] = static_cast<float>(std * rng.normal(static_cast<std::uint64_t>(t) << 32 | i));
    });
  }
}

void Llama::set_observer(InputObserver observer) {
  observer_ = std::move(observer);
  for (Block& b : blocks_)
    for (LinearGroup* group : {&b.attention.qkv(), &b.attention.o(), &b.mlp.gate_up(), &b.mlp.down()})
      group->set_observer(observer_ ? &observer_ : nullptr);
}

std::vector<std::vector<float>> Llama::block_gradients(std::span<const std::int32_t> ids,
                                                       std::span<const std::int32_t> targets, std::size_t length) {
  std::vector<at::Tensor> streams;
  const at::Tensor last = residual_stream(ids, length, [&](std::size_t, const at::Tensor& x) {
    x.retain_grad();
    streams.push_back(x);
  });
  std::vector<double> losses(ids.size());
  head_loss(context_, *head_, last, targets, 1.0f / static_cast<float>(ids.size()), losses).backward();
  std::vector<std::vector<float>> gradients;
  for (const at::Tensor& x : streams) {
    const at::Tensor g = x.grad().contiguous();
    gradients.emplace_back(g.const_data_ptr<float>(), g.const_data_ptr<float>() + g.numel());
  }
  zero_gradients();
  return gradients;
}

void Llama::set_profile(Profile* profile) {
  context_.profile = profile;
  for (Block& b : blocks_)
    for (LinearGroup* group : {&b.attention.qkv(), &b.attention.o(), &b.mlp.gate_up(), &b.mlp.down()})
      group->set_profile(profile);
  head_->set_profile(profile);
}

void Llama::refresh() {
  const Profile::Scope timed(context_.profile, Work::code_weights);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    float& value = *steps_[i].value.mutable_data_ptr<float>();
    if (!step_specs_[i].input && value == 0) {
      FirstStep seen;
      const Grid* grid = nullptr;
      for (const Parameter& p : parameters_) {
        if (p.spec.layer != step_specs_[i].tensor.layer || !p.spec.linear()) continue;
        if (model::step_owner(p.spec.role, weights_.scheme) != step_specs_[i].role) continue;
        const model::TensorCoding coding = model::coding_of(p.spec, weights_.scheme);
        grid = coding.weight.grid;
        seen.see(executor(), coding.group, static_cast<std::size_t>(p.spec.rows),
                 static_cast<std::size_t>(p.spec.columns), p.value.const_data_ptr<float>());
      }
      value = seen.step(weights_.scheme.estimator, *grid, false);
    }
    nn::set_step(weights_, step_specs_[i], value);
  }
  for (const Parameter& p : parameters_) refresh(p);
}

void Llama::refresh(const Parameter& p) {
  const float* values = p.value.const_data_ptr<float>();
  if (p.gain) {
    decoded_.resize(static_cast<std::size_t>(p.spec.elements()));
    stored_values(p, decoded_);
    values = decoded_.data();
  }
  nn::set_tensor(executor(), weights_, p.spec, values, {true, true});
}

void Llama::add_gains() {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  for (Parameter& p : parameters_) {
    if (!p.spec.linear()) continue;
    model::TensorSpec spec{p.spec.name + ".gain", TensorRole::norm, p.spec.layer, 1, 1};
    gains_.push_back({spec, at::ones({1}, options), at::zeros({1}, options), gains_.size()});
    gains_.back().stored = false;
    p.gain = &gains_.back();
  }
}

void Llama::stored_values(const Parameter& p, std::span<float> out) const {
  kernels::scale_values(*context_.executor, out.size(), p.factor(), p.value.const_data_ptr<float>(), out.data());
}

void Llama::set_teacher(Llama* teacher, float weight) {
  assert(teacher->weights().config.vocab == weights_.config.vocab);
  teacher_ = teacher;
  teacher_weight_ = weight;
}

void Llama::pull_to_grid(double amount) { add_grid_error(&Parameter::value, -static_cast<float>(amount)); }

void Llama::damp(double amount) { add_grid_error(&Parameter::grad, static_cast<float>(amount)); }

void Llama::add_grid_error(at::Tensor Parameter::*to, float times) {
  const Profile::Scope timed(context_.profile, Work::code_weights);
  for (Parameter& p : parameters_) {
    if (!p.spec.linear()) continue;
    const nn::LinearWeights& w =
        nn::LlamaWeights::linear_of(weights_.blocks[static_cast<std::size_t>(p.spec.layer)], p.spec.role);
    if (!w.coding().format.weight) continue;
    const std::size_t n = w.n() * w.slices(), k = w.slice();  // rows with one scale each
    while (row_numbers_.size() < n) row_numbers_.push_back(static_cast<std::int32_t>(row_numbers_.size()));
    decoded_.resize(n * k);
    kernels::decode_rows(executor(), nn::weight_coding(w.coding()), n, row_numbers_.data(), k, w.coded().codes,
                         w.scale(), decoded_.data(), k);
    float* const sum = (p.*to).mutable_data_ptr<float>();
    const float* const value = p.value.const_data_ptr<float>();
    const float* const q = decoded_.data();
    const float factor = p.factor();  // the grid is of gain * w
    executor().parallel_for(n, [&](std::size_t row) {
      for (std::size_t i = row * k; i < (row + 1) * k; ++i) sum[i] += times * (value[i] - q[i] / factor);
    });
  }
}

void Llama::zero_gradients() {
  constexpr std::size_t kChunk = std::size_t{1} << 18;
  for (Parameter& s : steps_) *s.grad.mutable_data_ptr<float>() = 0;
  for (Parameter& g : gains_) *g.grad.mutable_data_ptr<float>() = 0;
  for (Parameter& p : parameters_) {
    const auto n = static_cast<std::size_t>(p.grad.numel());
    float* grad = p.grad.mutable_data_ptr<float>();
    executor().parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t i) {
      std::fill_n(grad + i * kChunk, std::min(kChunk, n - i * kChunk), 0.0f);
    });
  }
}

at::Tensor Llama::residual_stream(std::span<const std::int32_t> ids, std::size_t length,
                                  const std::function<void(std::size_t, const at::Tensor&)>& on_layer) {
  const auto eps = static_cast<float>(weights_.config.norm_eps);
  at::Tensor x = embed(context_, weights_.embedding, *embedding_, ids);
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    x = blocks_[layer].attention.forward(context_, x, length);
    x = blocks_[layer].mlp.forward(context_, x);
    if (on_layer) on_layer(layer, x);
  }
  return rms_norm(context_, x, *final_norm_, eps);
}

void Llama::accumulate(std::span<const std::int32_t> ids, std::span<const std::int32_t> targets, std::size_t length,
                       float scale, std::span<double> losses) {
  assert(ids.size() == targets.size() && ids.size() == losses.size() && ids.size() % length == 0);
  SoftTargets soft;
  if (teacher_) {
    const at::NoGradGuard no_gradients;
    soft = {teacher_->head_.get(), teacher_->residual_stream(ids, length), teacher_weight_};
  }
  const at::Tensor loss = head_loss(context_, *head_, residual_stream(ids, length), targets, scale, losses, soft);
  loss.backward();
}

void Llama::logits(std::span<const std::int32_t> ids, std::size_t length, float* out) {
  const at::NoGradGuard no_gradients;
  const at::Tensor x = residual_stream(ids, length);
  head_->prepare(x.const_data_ptr<float>(), ids.size(), false);
  head_->multiply_into(std::span(&out, 1));
}

std::int64_t Llama::first_bad_layer(std::span<const std::int32_t> ids, std::size_t length) {
  const at::NoGradGuard no_gradients;
  std::int64_t bad = -1;
  residual_stream(ids, length, [&](std::size_t layer, const at::Tensor& x) {
    if (bad >= 0) return;
    const float* values = x.const_data_ptr<float>();
    for (std::int64_t i = 0; i < x.numel(); ++i)
      if (!std::isfinite(values[i])) {
        bad = static_cast<std::int64_t>(layer);
        return;
      }
  });
  return bad;
}

std::vector<MaskShare> Llama::mask_shares() const {
  std::vector<MaskShare> shares;
  for (const Block& b : blocks_)
    for (const LinearGroup* group : {&b.attention.qkv(), &b.attention.o(), &b.mlp.gate_up(), &b.mlp.down()})
      group->count_masks(shares);
  return shares;
}

}  // namespace lowbit::autograd
