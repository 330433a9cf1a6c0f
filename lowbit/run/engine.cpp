#include "lowbit/run/engine.h"

#include <algorithm>
#include <cassert>

#include "lowbit/base/error.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::run {
namespace {

std::size_t rounded_capacity(std::size_t capacity) {
  constexpr std::size_t block = kernels::reference::kKeyBlock;
  return (capacity + block - 1) / block * block;
}

}  // namespace

std::size_t Sequence::bytes(const nn::LlamaWeights& weights, std::size_t capacity) {
  return weights.blocks.size() * kernels::key_value_bytes(weights.attention_shape(), rounded_capacity(capacity));
}

Sequence::Sequence(const nn::LlamaWeights& weights, std::size_t capacity) : capacity_(capacity) {
  if (capacity > weights.rope.positions)
    fail_input("{} positions were asked for, but this model has a context of {}", capacity, weights.rope.positions);
  const std::size_t room = rounded_capacity(capacity);
  const std::size_t layer_bytes = kernels::key_value_bytes(weights.attention_shape(), room);
  memory_.resize(layer_bytes * weights.blocks.size());
  for (std::size_t layer = 0; layer < weights.blocks.size(); ++layer)
    layers_.push_back({memory_.data() + layer * layer_bytes, room});
}

void Sequence::cut(std::size_t length) {
  assert(length <= length_);
  length_ = length;
}

Engine::Engine(Executor& executor, const nn::LlamaWeights& weights, std::size_t most_rows)
    : executor_(executor), weights_(weights), workspace_(weights, std::max<std::size_t>(1, most_rows)) {
  jobs_.reserve(workspace_.rows);
  together_.reserve(workspace_.rows);
}

void Engine::check(const Sequence& sequence, std::span<const std::int32_t> tokens) const {
  if (tokens.size() > sequence.capacity() - sequence.length())
    fail_input("{} tokens do not fit behind {} in a context of {}", tokens.size(), sequence.length(),
               sequence.capacity());
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= weights_.config.vocab)
      fail_input("token {} has the id {}, outside the vocabulary of {}", sequence.length() + i, tokens[i],
                 weights_.config.vocab);
}

void Engine::feed_chunk(Sequence& sequence, std::span<const std::int32_t> tokens) {
  weights_.embedding.look_up(executor_, tokens.size(), tokens.data(), workspace_.x.data());
  const nn::SequenceRows rows{sequence.layers_, sequence.length_, tokens.size()};
  nn::forward_blocks(executor_, weights_, {&rows, 1}, workspace_, jobs_);
  sequence.length_ += tokens.size();
}

void Engine::feed_all(Sequence& sequence, std::span<const std::int32_t> tokens, float* logits) {
  check(sequence, tokens);
  const auto vocab = static_cast<std::size_t>(weights_.config.vocab);
  for (std::size_t at = 0; at < tokens.size(); at += most_rows()) {
    const auto chunk = tokens.subspan(at, std::min(most_rows(), tokens.size() - at));
    feed_chunk(sequence, chunk);
    nn::forward_head(executor_, weights_, workspace_, 0, chunk.size(), logits + at * vocab);
  }
}

void Engine::feed(Sequence& sequence, std::span<const std::int32_t> tokens, float* logits) {
  check(sequence, tokens);
  for (std::size_t at = 0; at < tokens.size(); at += most_rows()) {
    const auto chunk = tokens.subspan(at, std::min(most_rows(), tokens.size() - at));
    feed_chunk(sequence, chunk);
    if (at + chunk.size() == tokens.size())
      nn::forward_head(executor_, weights_, workspace_, chunk.size() - 1, 1, logits);
  }
}

void Engine::feed_each(std::span<Sequence* const> sequences, std::span<const std::int32_t> tokens, float* logits) {
  assert(sequences.size() == tokens.size());
  if (sequences.size() > most_rows())
    fail_input("{} sequences were given at once, but there is room for {}", sequences.size(), most_rows());
  together_.clear();
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    check(*sequences[i], tokens.subspan(i, 1));
    together_.push_back({sequences[i]->layers_, sequences[i]->length_, 1});
  }
  weights_.embedding.look_up(executor_, tokens.size(), tokens.data(), workspace_.x.data());
  nn::forward_blocks(executor_, weights_, together_, workspace_, jobs_);
  for (Sequence* sequence : sequences) ++sequence->length_;
  nn::forward_head(executor_, weights_, workspace_, 0, sequences.size(), logits);
}

}  // namespace lowbit::run
