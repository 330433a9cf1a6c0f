#include "lowbit/nn/llama.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace lowbit::nn {
namespace {

using model::TensorRole;

/// Room for what layers of this role read, whatever format each block has for it.
void reserve(LinearInput& input, const LlamaWeights& w, TensorRole role, std::size_t rows, std::size_t k) {
  const std::int64_t blocks = role == TensorRole::head ? 1 : w.config.layers;
  for (std::int64_t block = 0; block < blocks; ++block)
    input.reserve(model::coding_of({{}, role, block, 1, static_cast<std::int64_t>(k)}, w.scheme), rows, k, false);
}

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

model::TensorCoding with_steps(const LlamaWeights& w, const model::TensorSpec& spec) {
  model::TensorCoding coding = model::coding_of(spec, w.scheme);
  if (!spec.linear()) return coding;
  const BlockWeights& block = w.blocks[size(spec.layer)];
  const auto i = size(static_cast<int>(spec.role) - static_cast<int>(TensorRole::q));
  coding.weight.step = static_cast<double>(block.step[i]);
  coding.input.step = static_cast<double>(block.input_step[i]);
  coding.input.offset = static_cast<double>(block.input_offset[i]);
  return coding;
}

Buffer<float>& norm_of(LlamaWeights& w, const model::TensorSpec& spec) {
  if (spec.layer < 0) return w.final_norm;
  BlockWeights& block = w.blocks[size(spec.layer)];
  const auto named = [&](std::string_view end) { return spec.name.ends_with(end); };
  return named("input_layernorm.weight") ? block.input_norm
         : named("q_norm.weight")        ? block.q_norm
         : named("k_norm.weight")        ? block.k_norm
                                         : block.mlp_norm;
}

}  // namespace

kernels::AttentionShape LlamaWeights::attention_shape() const {
  return {size(config.heads), size(config.kv_heads), size(config.head_dim), scheme.attention};
}

const LinearWeights& LlamaWeights::linear_of(const BlockWeights& block, TensorRole role) {
  switch (role) {
    case TensorRole::q: return block.q;
    case TensorRole::k: return block.k;
    case TensorRole::v: return block.v;
    case TensorRole::o: return block.o;
    case TensorRole::gate: return block.gate;
    case TensorRole::up: return block.up;
    default: assert(role == TensorRole::down); return block.down;
  }
}

LinearWeights& LlamaWeights::linear_of(BlockWeights& block, TensorRole role) {
  return const_cast<LinearWeights&>(linear_of(std::as_const(block), role));
}

std::size_t LlamaWeights::bytes() const {
  std::size_t total =
      embedding.bytes() + head.bytes() + 4 * final_norm.size() + 4 * (rope.cos.size() + rope.sin.size());
  for (const BlockWeights& b : blocks) {
    for (const LinearWeights* l : b.linears()) total += l->bytes();
    total += 4 * (b.input_norm.size() + b.mlp_norm.size() + b.q_norm.size() + b.k_norm.size());
  }
  return total;
}

LlamaWeights make_llama(const model::Config& config, const Scheme& scheme, std::size_t positions) {
  LlamaWeights w;
  w.config = config;
  w.scheme = scheme;
  w.blocks.resize(size(config.layers));
  for (BlockWeights& b : w.blocks) {
    b.input_norm.resize(size(config.width));
    b.mlp_norm.resize(size(config.width));
    if (!config.qk_norm) continue;
    b.q_norm.resize(size(config.head_dim));
    b.k_norm.resize(size(config.head_dim));
  }
  w.final_norm.resize(size(config.width));
  w.rope = kernels::make_rope_table(size(config.head_dim), positions, config.rope_theta);
  return w;
}

void set_step(LlamaWeights& w, const model::StepSpec& spec, float value) {
  BlockWeights& block = w.blocks[size(spec.tensor.layer)];
  for (int i = 0; i < 7; ++i) {
    const auto role = static_cast<TensorRole>(static_cast<int>(TensorRole::q) + i);
    if ((spec.input ? model::input_owner(role) : model::step_owner(role, w.scheme)) == spec.role)
      (spec.offset ? block.input_offset : spec.input ? block.input_step : block.step)[size(i)] = value;
  }
}

void set_tensor(Executor& executor, LlamaWeights& w, const model::TensorSpec& spec, const float* values,
                LinearWeights::Keep keep) {
  const model::TensorCoding coding = with_steps(w, spec);
  const std::size_t n = size(spec.rows), k = size(spec.columns);
  switch (spec.role) {
    case TensorRole::norm:
      std::copy_n(values, k, norm_of(w, spec).data());
      return;
    case TensorRole::embedding:
      w.embedding.set(executor, coding, n, k, values, keep.mask);
      if (w.config.tied) w.head.set(executor, coding, n, k, values, keep);
      return;
    case TensorRole::head:
      w.head.set(executor, coding, n, k, values, keep);
      return;
    default:
      LlamaWeights::linear_of(w.blocks[size(spec.layer)], spec.role).set(executor, coding, n, k, values, keep);
  }
}

void set_coded_tensor(Executor& executor, LlamaWeights& w, const model::TensorSpec& spec,
                      std::span<const std::uint8_t> canonical, std::span<const float> scale,
                      std::span<const float> offset) {
  const model::TensorCoding coding = with_steps(w, spec);
  const std::size_t n = size(spec.rows), k = size(spec.columns);
  if (spec.role == TensorRole::embedding) {
    w.embedding.set_coded(executor, coding, n, k, canonical, scale);
    if (w.config.tied) w.head.set_coded(executor, coding, n, k, canonical, scale);
  } else if (spec.role == TensorRole::head) {
    w.head.set_coded(executor, coding, n, k, canonical, scale);
  } else {
    LlamaWeights::linear_of(w.blocks[size(spec.layer)], spec.role)
        .set_coded(executor, coding, n, k, canonical, scale, offset);
  }
}

Workspace::Workspace(const LlamaWeights& w, std::size_t most) : rows(most) {
  const model::Config& c = w.config;
  const std::size_t width = size(c.width), q_width = size(c.q_width()), kv_width = size(c.kv_width()),
                    mlp = size(c.mlp);
  x.resize(rows * width);
  normed.resize(rows * width);
  q.resize(rows * q_width);
  k.resize(rows * kv_width);
  v.resize(rows * kv_width);
  attended.resize(rows * q_width);
  projected.resize(rows * width);
  gate.resize(rows * mlp);
  up.resize(rows * mlp);
  hidden.resize(rows * mlp);
  positions.resize(rows);
  reserve(block_input, w, TensorRole::q, rows, width);
  reserve(attention_output, w, TensorRole::o, rows, q_width);
  reserve(mlp_input, w, TensorRole::gate, rows, width);
  reserve(mlp_hidden, w, TensorRole::down, rows, mlp);
  reserve(head_input, w, TensorRole::head, rows, width);
}

namespace {

// Threads that wait while a row is normed, rotated and coded fetch the weights that come after those of this layer:
// with few rows it is reading them that takes the time (docs/explain/speed.md).
void fetch_after(Executor& executor, const LlamaWeights& w, std::size_t layer, TensorRole role) {
  const std::size_t head = 7 * w.blocks.size();
  const std::size_t here =
      role == TensorRole::head ? head : 7 * layer + size(static_cast<int>(role) - static_cast<int>(TensorRole::q));
  std::array<MemoryRange, Executor::kMostSoon> ranges;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const std::size_t at = (here + 1 + i) % (head + 1);
    const auto next = static_cast<TensorRole>(static_cast<int>(TensorRole::q) + static_cast<int>(at % 7));
    ranges[i] = (at == head ? w.head : LlamaWeights::linear_of(w.blocks[at / 7], next)).memory();
  }
  executor.soon(ranges);
}

}  // namespace

void norm_heads(Executor& executor, const LlamaWeights& w, const BlockWeights& block, std::size_t rows, float* q,
                float* k, float* q_inv, float* k_inv) {
  if (!w.config.qk_norm) return;
  const auto eps = static_cast<float>(w.config.norm_eps);
  const std::size_t head_dim = size(w.config.head_dim);
  kernels::rms_norm(executor, rows * size(w.config.heads), head_dim, q, block.q_norm.data(), eps, q, q_inv);
  kernels::rms_norm(executor, rows * size(w.config.kv_heads), head_dim, k, block.k_norm.data(), eps, k, k_inv);
}

void forward_blocks(Executor& executor, const LlamaWeights& w, std::span<const SequenceRows> sequences, Workspace& s,
                    std::vector<kernels::AttentionJob>& jobs,
                    const std::function<void(std::size_t, std::span<const float>)>& on_layer) {
  const model::Config& c = w.config;
  const std::size_t width = size(c.width), q_width = size(c.q_width()), kv_width = size(c.kv_width()),
                    mlp = size(c.mlp);
  const auto eps = static_cast<float>(c.norm_eps);
  const kernels::AttentionShape shape = w.attention_shape();
  std::size_t rows = 0;
  for (const SequenceRows& sequence : sequences)
    for (std::size_t i = 0; i < sequence.rows; ++i) s.positions[rows++] = static_cast<std::int32_t>(sequence.first + i);
  assert(rows <= s.rows);
  jobs.resize(sequences.size());

  for (std::size_t layer = 0; layer < w.blocks.size(); ++layer) {
    const BlockWeights& b = w.blocks[layer];
    kernels::rms_norm(executor, rows, width, s.x.data(), b.input_norm.data(), eps, s.normed.data(), nullptr);
    s.block_input.prepare(executor, b.q.coding(), rows, width, s.normed.data(), width, false);
    const LinearOutput qkv[] = {
        {&b.q, s.q.data(), q_width}, {&b.k, s.k.data(), kv_width}, {&b.v, s.v.data(), kv_width}};
    fetch_after(executor, w, layer, TensorRole::v);
    linear(executor, s.block_input, qkv);
    norm_heads(executor, w, b, rows, s.q.data(), s.k.data());
    kernels::rope(executor, w.rope, rows, size(c.heads), s.q.data(), q_width, s.positions.data());
    kernels::rope(executor, w.rope, rows, size(c.kv_heads), s.k.data(), kv_width, s.positions.data());
    std::size_t at = 0;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const SequenceRows& sequence = sequences[i];
      kernels::store_keys(shape, sequence.cache[layer], sequence.first, sequence.rows, s.k.data() + at * kv_width,
                          kv_width, s.v.data() + at * kv_width, kv_width);
      jobs[i] = {sequence.cache[layer], sequence.first, sequence.rows, s.q.data() + at * q_width,
                 s.attended.data() + at * q_width, nullptr};
      at += sequence.rows;
    }
    kernels::attention(executor, shape, jobs.size(), jobs.data(), q_width, q_width);
    s.attention_output.prepare(executor, b.o.coding(), rows, q_width, s.attended.data(), q_width, false);
    fetch_after(executor, w, layer, TensorRole::o);
    linear(executor, s.attention_output, b.o, s.projected.data(), width);
    kernels::add_in_place(executor, rows * width, s.x.data(), s.projected.data());

    kernels::rms_norm(executor, rows, width, s.x.data(), b.mlp_norm.data(), eps, s.normed.data(), nullptr);
    s.mlp_input.prepare(executor, b.gate.coding(), rows, width, s.normed.data(), width, false);
    const LinearOutput gate_up[] = {{&b.gate, s.gate.data(), mlp}, {&b.up, s.up.data(), mlp}};
    fetch_after(executor, w, layer, TensorRole::up);
    linear(executor, s.mlp_input, gate_up);
    kernels::swiglu(executor, rows, mlp, s.gate.data(), s.up.data(), mlp, s.hidden.data());
    s.mlp_hidden.prepare(executor, b.down.coding(), rows, mlp, s.hidden.data(), mlp, false);
    fetch_after(executor, w, layer, TensorRole::down);
    linear(executor, s.mlp_hidden, b.down, s.projected.data(), width);
    kernels::add_in_place(executor, rows * width, s.x.data(), s.projected.data());
    if (on_layer) on_layer(layer, {s.x.data(), rows * width});
  }
}

void forward_head(Executor& executor, const LlamaWeights& w, Workspace& s, std::size_t begin, std::size_t rows,
                  float* logits) {
  const std::size_t width = size(w.config.width), vocab = size(w.config.vocab);
  kernels::rms_norm(executor, rows, width, s.x.data() + begin * width, w.final_norm.data(),
                    static_cast<float>(w.config.norm_eps), s.normed.data(), nullptr);
  s.head_input.prepare(executor, w.head.coding(), rows, width, s.normed.data(), width, false);
  fetch_after(executor, w, 0, TensorRole::head);
  linear(executor, s.head_input, w.head, logits, vocab);
}

}  // namespace lowbit::nn
