#include "lowbit/autograd/blocks.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lowbit/autograd/tensors.h"
#include "lowbit/formats/bf16.h"

namespace lowbit::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::Tensor residual_sum(const Context& context, const at::Tensor& x, const at::Tensor& y) {
  const Profile::Scope timed(context.profile, Work::residual);
  kernels::add_in_place(*context.executor, static_cast<std::size_t>(y.numel()), mutable_data(y), data(x));
  return y;
}

at::Tensor copy_of(Executor& executor, const at::Tensor& t) {
  constexpr std::size_t kChunk = std::size_t{1} << 16;
  at::Tensor copy = at::empty_like(t);
  const auto n = static_cast<std::size_t>(t.numel());
  const float* from = data(t);
  float* to = mutable_data(copy);
  executor.parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t i) {
    std::copy_n(from + i * kChunk, std::min(kChunk, n - i * kChunk), to + i * kChunk);
  });
  return copy;
}

/// dx = d + the backward pass through the coding of `group`'s input and the norm before it; adds to the norm's
/// gradient. dnormed: of what was coded; overwritten.
at::Tensor norm_and_residual_backward(const Context& context, const at::Tensor& d, const at::Tensor& x,
                                      const at::Tensor& inv, const LinearGroup& group, const at::Tensor& dnormed,
                                      Parameter& norm) {
  const Profile::Scope timed(context.profile, Work::norm_backward);
  at::Tensor dx = at::empty_like(d);
  float* const dy = mutable_data(dnormed);
  kernels::rms_norm_backward(*context.executor, rows_of(x), columns_of(x), data(x), data(norm.value), data(inv), dy,
                             data(d), mutable_data(dx), mutable_data(norm.grad),
                             [&](std::size_t first, std::size_t count) { group.through_coding(first, count, dy); });
  return dx;
}

struct NormedInput {
  at::Tensor whole;  ///< what was normed, where the group reads it again; else nothing
  at::Tensor inv;    ///< 1 / rms of each row
};
/// Norms x and prepares the group's input with it.
NormedInput prepare_normed(const Context& context, LinearGroup& group, const at::Tensor& x, const Parameter& norm,
                           double eps) {
  NormedInput out{{}, at::empty({x.size(0)}, x.options())};
  const std::size_t rows = rows_of(x), k = columns_of(x);
  const float *from = data(x), *weight = data(norm.value);
  float* const inv = mutable_data(out.inv);
  if (!group.wants_whole_input()) {
    group.prepare_made(rows, true, [&](std::size_t first, std::size_t count, float* to) {
      SerialExecutor here;
      kernels::rms_norm(here, count, k, from + first * k, weight, static_cast<float>(eps), to, inv + first);
    });
    return out;
  }
  out.whole = at::empty_like(x);
  {
    const Profile::Scope timed(context.profile, Work::norm);
    kernels::rms_norm(*context.executor, rows, k, from, weight, static_cast<float>(eps), mutable_data(out.whole), inv);
  }
  group.prepare(data(out.whole), rows, true);
  return out;
}

/// silu(gate) * up, and the group's input from it. Returns it where the group reads it again; else nothing.
at::Tensor prepare_swiglu(const Context& context, LinearGroup& group, const at::Tensor& gate, const at::Tensor& up) {
  const std::size_t rows = rows_of(gate), k = columns_of(gate);
  const float *g = data(gate), *u = data(up);
  if (!group.wants_whole_input()) {
    group.prepare_made(rows, true, [&](std::size_t first, std::size_t count, float* to) {
      SerialExecutor here;
      kernels::swiglu(here, count, k, g + first * k, u + first * k, k, to);
    });
    return {};
  }
  at::Tensor hidden = at::empty_like(gate);
  {
    const Profile::Scope timed(context.profile, Work::swiglu);
    kernels::swiglu(*context.executor, rows, k, g, u, k, mutable_data(hidden));
  }
  group.prepare(data(hidden), rows, true);
  return hidden;
}

std::vector<at::Tensor> outputs_of(const LinearGroup& group, std::size_t rows) {
  std::vector<at::Tensor> y;
  for (const nn::LinearWeights* w : group.weights()) y.push_back(new_rows(static_cast<std::int64_t>(rows), w->n()));
  return y;
}

std::vector<at::Tensor> multiply(LinearGroup& group, std::size_t rows) {
  std::vector<at::Tensor> y = outputs_of(group, rows);
  std::array<float*, 3> pointers{};
  for (std::size_t i = 0; i < y.size(); ++i) pointers[i] = mutable_data(y[i]);
  group.multiply_into(std::span(pointers.data(), y.size()));
  return y;
}

void round_to_bf16(Executor& executor, const at::Tensor& t) {
  constexpr std::size_t kChunk = std::size_t{1} << 16;
  const auto n = static_cast<std::size_t>(t.numel());
  float* x = mutable_data(t);
  executor.parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t i) {
    for (std::size_t j = i * kChunk; j < std::min(n, (i + 1) * kChunk); ++j) x[j] = to_float(to_bf16(x[j]));
  });
}

/// What is saved when `keep`, else nothing in its place.
at::Tensor if_kept(bool keep, const at::Tensor& t) { return keep ? t : at::Tensor(); }

}  // namespace

void AttentionMemory::reserve(const kernels::AttentionShape& shape, std::size_t sequences, std::size_t length) {
  const std::size_t room = (length + 63) / 64 * 64, bytes = kernels::key_value_bytes(shape, room);
  if (length_ == length && bytes_ == bytes && caches_.size() >= sequences) return;
  memory_ = Buffer<std::byte>(bytes * sequences);
  caches_.clear();
  for (std::size_t i = 0; i < sequences; ++i) caches_.push_back({memory_.data() + i * bytes, room});
  positions_.resize(sequences * length);
  for (std::size_t i = 0; i < positions_.size(); ++i) positions_[i] = static_cast<std::int32_t>(i % length);
  length_ = length;
  bytes_ = bytes;
}

struct AttentionBlockFunction : Function<AttentionBlockFunction> {
  static Variable forward(AutogradContext* graph, const Variable& x, AttentionBlock* block, const Context* context,
                          std::int64_t length) {
    keep_pointer(graph, "block", block);
    keep_pointer(graph, "context", const_cast<Context*>(context));
    graph->saved_data["length"] = length;
    Executor& executor = *context->executor;
    const kernels::AttentionShape shape = block->weights_.attention_shape();
    const std::size_t rows = rows_of(x), sequence = static_cast<std::size_t>(length), sequences = rows / sequence;
    const auto [normed, inv] = prepare_normed(*context, block->qkv_, x, block->norm_, block->weights_.config.norm_eps);
    const std::vector<at::Tensor> qkv = block->project(*context, rows);
    const at::Tensor &q = qkv[0], &k = qkv[1], &v = qkv[2];
    const std::size_t q_width = columns_of(q), kv_width = columns_of(k);
    at::Tensor out = at::empty_like(q),
               log_sum = at::empty({static_cast<std::int64_t>(rows * shape.heads)}, q.options());
    {
      const Profile::Scope timed(context->profile, Work::attention);
      AttentionMemory& memory = block->memory_;
      memory.reserve(shape, sequences, sequence);
      memory.jobs.resize(sequences);
      executor.parallel_for(sequences, [&](std::size_t i) {
        const std::size_t at = i * sequence;
        kernels::store_keys(shape, memory.caches()[i], 0, sequence, data(k) + at * kv_width, kv_width,
                            data(v) + at * kv_width, kv_width);
        memory.jobs[i] = {memory.caches()[i], 0, sequence, data(q) + at * q_width, mutable_data(out) + at * q_width,
                          mutable_data(log_sum) + i * shape.heads * sequence};
      });
      kernels::attention(executor, shape, sequences, memory.jobs.data(), q_width, q_width);
    }
    block->o_.prepare(data(out), rows, true);
    const at::Tensor y = multiply(block->o_, rows)[0];
    const bool keep = !context->recompute;
    variable_list saved{x, inv, if_kept(block->qkv_.reads_values(), normed), out, log_sum};
    if (keep) saved.insert(saved.end(), qkv.begin(), qkv.end());
    graph->save_for_backward(saved);
    return residual_sum(*context, x, y);
  }

  static variable_list backward(AutogradContext* graph, const variable_list& grads) {
    auto* block = kept_pointer<AttentionBlock>(graph, "block");
    auto* context = kept_pointer<Context>(graph, "context");
    const auto sequence = static_cast<std::size_t>(graph->saved_data["length"].toInt());
    const auto saved = graph->get_saved_variables();
    const at::Tensor &x = saved[0], &inv = saved[1], &out = saved[3], &log_sum = saved[4];
    const at::Tensor d = grads[0].contiguous();
    Executor& executor = *context->executor;
    const kernels::AttentionShape shape = block->weights_.attention_shape();
    const std::size_t rows = rows_of(x), sequences = rows / sequence;
    const std::vector<at::Tensor> qkv =
        saved.size() > 5 ? std::vector<at::Tensor>(saved.begin() + 5, saved.end()) : block->project(*context, rows);
    const at::Tensor &q = qkv[0], &k = qkv[1], &v = qkv[2];
    const std::size_t q_width = columns_of(q), kv_width = columns_of(k);

    const at::Tensor dout = at::empty_like(out);
    const float* dy = data(d);
    block->o_.backward_into(std::span(&dy, 1), mutable_data(dout));
    const at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    {
      const Profile::Scope timed(context->profile, Work::attention_backward);
      AttentionMemory& memory = block->memory_;
      memory.backward_jobs.resize(sequences);
      for (std::size_t i = 0; i < sequences; ++i) {
        const std::size_t a = i * sequence * q_width, b = i * sequence * kv_width;
        memory.backward_jobs[i] = {
            data(q) + a,          data(k) + b,          data(v) + b,
            data(out) + a,        data(dout) + a,       data(log_sum) + i * shape.heads * sequence,
            mutable_data(dq) + a, mutable_data(dk) + b, mutable_data(dv) + b};
      }
      kernels::attention_backward(executor, context->float_precision(), shape, sequence, sequences,
                                  memory.backward_jobs.data(), q_width, kv_width, q_width);
      const std::int32_t* positions = memory.positions();
      kernels::rope(executor, block->weights_.rope, rows, shape.heads, mutable_data(dq), q_width, positions, true);
      kernels::rope(executor, block->weights_.rope, rows, shape.kv_heads, mutable_data(dk), kv_width, positions, true);
    }
    block->norm_heads_backward(*context, qkv, dq, dk);
    const at::Tensor dnormed = at::empty_like(x);
    const std::array<const float*, 3> dqkv{data(dq), data(dk), data(dv)};
    block->qkv_.products_back_into(dqkv, mutable_data(dnormed));
    return {norm_and_residual_backward(*context, d, x, inv, block->qkv_, dnormed, block->norm_), Variable(), Variable(),
            Variable()};
  }
};

struct MlpBlockFunction : Function<MlpBlockFunction> {
  static Variable forward(AutogradContext* graph, const Variable& x, MlpBlock* block, const Context* context) {
    keep_pointer(graph, "block", block);
    keep_pointer(graph, "context", const_cast<Context*>(context));
    const std::size_t rows = rows_of(x);
    const auto [normed, inv] =
        prepare_normed(*context, block->gate_up_, x, block->norm_, block->weights_.config.norm_eps);
    const std::vector<at::Tensor> gate_up = multiply(block->gate_up_, rows);
    const at::Tensor &gate = gate_up[0], &up = gate_up[1];
    const at::Tensor hidden = prepare_swiglu(*context, block->down_, gate, up);
    const at::Tensor y = multiply(block->down_, rows)[0];
    const bool keep = !context->recompute;
    graph->save_for_backward({x, inv, if_kept(block->gate_up_.reads_values(), normed),
                              if_kept(block->down_.reads_values(), hidden), if_kept(keep, gate), if_kept(keep, up)});
    return residual_sum(*context, x, y);
  }

  static variable_list backward(AutogradContext* graph, const variable_list& grads) {
    auto* block = kept_pointer<MlpBlock>(graph, "block");
    auto* context = kept_pointer<Context>(graph, "context");
    const auto saved = graph->get_saved_variables();
    const at::Tensor &x = saved[0], &inv = saved[1];
    const at::Tensor d = grads[0].contiguous();
    const std::size_t rows = rows_of(x);
    const std::vector<at::Tensor> gate_up =
        saved[4].defined() ? std::vector<at::Tensor>{saved[4], saved[5]} : multiply(block->gate_up_, rows);
    const at::Tensor &gate = gate_up[0], &up = gate_up[1];
    const at::Tensor dhidden = at::empty_like(gate);
    const float* dy = data(d);
    block->down_.products_back_into(std::span(&dy, 1), mutable_data(dhidden));
    const at::Tensor dgate = at::empty_like(gate), dup = at::empty_like(gate);
    {
      const Profile::Scope timed(context->profile, Work::swiglu_backward);
      const std::size_t k = columns_of(gate);
      float* const dh = mutable_data(dhidden);
      kernels::swiglu_backward(
          *context->executor, rows, k, data(gate), data(up), k, dh, mutable_data(dgate), mutable_data(dup), k,
          [&](std::size_t first, std::size_t count) { block->down_.through_coding(first, count, dh); });
    }
    const at::Tensor dnormed = at::empty_like(x);
    const std::array<const float*, 2> dgate_up{data(dgate), data(dup)};
    block->gate_up_.products_back_into(dgate_up, mutable_data(dnormed));
    return {norm_and_residual_backward(*context, d, x, inv, block->gate_up_, dnormed, block->norm_), Variable(),
            Variable()};
  }
};

AttentionBlock::AttentionBlock(const nn::LlamaWeights& weights, std::size_t layer, AttentionMemory& memory,
                               Parameter& norm, Parameter* q_norm, Parameter* k_norm, LinearGroup qkv, LinearGroup o)
    : weights_(weights),
      layer_(layer),
      memory_(memory),
      norm_(norm),
      q_norm_(q_norm),
      k_norm_(k_norm),
      qkv_(std::move(qkv)),
      o_(std::move(o)) {}

std::vector<at::Tensor> AttentionBlock::project(const Context& context, std::size_t rows) {
  std::vector<at::Tensor> qkv = multiply(qkv_, rows);
  const Profile::Scope timed(context.profile, Work::attention);
  Executor& executor = *context.executor;
  const kernels::AttentionShape shape = weights_.attention_shape();
  std::vector<at::Tensor> before;
  if (q_norm_) {
    before = {copy_of(executor, qkv[0]), copy_of(executor, qkv[1]),
              at::empty({static_cast<std::int64_t>(rows * shape.heads)}, qkv[0].options()),
              at::empty({static_cast<std::int64_t>(rows * shape.kv_heads)}, qkv[0].options())};
    nn::norm_heads(executor, weights_, weights_.blocks[layer_], rows, mutable_data(qkv[0]), mutable_data(qkv[1]),
                   mutable_data(before[2]), mutable_data(before[3]));
  }
  for (std::size_t i = 0; i < 2; ++i)
    kernels::rope(executor, weights_.rope, rows, i == 0 ? shape.heads : shape.kv_heads, mutable_data(qkv[i]),
                  columns_of(qkv[i]), memory_.positions());
  if (shape.format == AttentionFormat::bf16)  // what the scores are made of, so that the backward pass finds them again
    for (const at::Tensor& t : qkv) round_to_bf16(executor, t);
  qkv.insert(qkv.end(), before.begin(), before.end());
  return qkv;
}

void AttentionBlock::norm_heads_backward(const Context& context, std::span<const at::Tensor> projected,
                                         const at::Tensor& dq, const at::Tensor& dk) {
  if (!q_norm_) return;
  const Profile::Scope timed(context.profile, Work::norm_backward);
  const auto back = [&](const at::Tensor& before, const at::Tensor& inv, const Parameter& norm, const at::Tensor& d) {
    kernels::rms_norm_backward(*context.executor, static_cast<std::size_t>(inv.numel()),
                               weights_.attention_shape().head_dim, data(before), data(norm.value), data(inv), data(d),
                               nullptr, mutable_data(d), mutable_data(norm.grad));
  };
  back(projected[3], projected[5], *q_norm_, dq);
  back(projected[4], projected[6], *k_norm_, dk);
}

at::Tensor AttentionBlock::forward(const Context& context, const at::Tensor& x, std::size_t length) {
  assert(rows_of(x) % length == 0);
  memory_.reserve(weights_.attention_shape(), rows_of(x) / length, length);
  return AttentionBlockFunction::apply(x, this, &context, static_cast<std::int64_t>(length));
}

MlpBlock::MlpBlock(const nn::LlamaWeights& weights, Parameter& norm, LinearGroup gate_up, LinearGroup down)
    : weights_(weights), norm_(norm), gate_up_(std::move(gate_up)), down_(std::move(down)) {}

at::Tensor MlpBlock::forward(const Context& context, const at::Tensor& x) {
  return MlpBlockFunction::apply(x, this, &context);
}

}  // namespace lowbit::autograd
