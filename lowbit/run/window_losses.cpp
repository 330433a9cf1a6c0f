#include "lowbit/run/window_losses.h"

#include <algorithm>
#include <cassert>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::run {
namespace {

constexpr std::size_t kHeadRows = 512;  // of logits in memory at once

constexpr char kStopped[] = "evaluation stopped; nothing was written";

std::size_t at_once(std::size_t length, std::size_t rows) { return std::max<std::size_t>(1, rows / length); }

/// Of one pass. A window longer than that comes in parts, each with the keys and values of those before it.
std::size_t pass_rows(std::size_t length, std::size_t rows) { return std::min(at_once(length, rows) * length, rows); }

}  // namespace

WindowLosses::WindowLosses(Executor& executor, const nn::LlamaWeights& weights, std::size_t length, std::size_t rows)
    : executor_(executor), weights_(weights), workspace_(weights, pass_rows(length, rows)) {
  if (length > weights.rope.positions)
    fail_input("windows of {} tokens do not fit this model's context of {}", length, weights.rope.positions);
  constexpr std::size_t block = kernels::reference::kKeyBlock;
  const std::size_t room = (length + block - 1) / block * block;
  const std::size_t layer_bytes = kernels::key_value_bytes(weights.attention_shape(), room);
  const std::size_t windows = at_once(length, rows), layers = weights.blocks.size();
  memory_.resize(windows * layers * layer_bytes);
  caches_.resize(windows);
  sequences_.resize(windows);
  for (std::size_t i = 0; i < windows; ++i)
    for (std::size_t layer = 0; layer < layers; ++layer)
      caches_[i].push_back({memory_.data() + (i * layers + layer) * layer_bytes, room});
  logits_.resize(std::min(kHeadRows, workspace_.rows) * static_cast<std::size_t>(weights.config.vocab));
}

void WindowLosses::operator()(std::span<const std::int32_t> ids, std::span<const std::int32_t> targets, std::size_t n,
                              std::span<double> losses) {
  assert(n > 0 && ids.size() % n == 0 && targets.size() == ids.size() && losses.size() == ids.size());
  for (const auto& list : {ids, targets})
    for (const std::int32_t id : list)
      if (id < 0 || id >= weights_.config.vocab)
        fail_input("token id {} is outside the vocabulary of {}", id, weights_.config.vocab);
  const auto vocab = static_cast<std::size_t>(weights_.config.vocab);
  const std::size_t windows = ids.size() / n;
  for (std::size_t first = 0; first < windows; first += windows_at_once()) {
    const std::size_t count = std::min(windows_at_once(), windows - first);
    for (std::size_t part = 0; part < n; part += workspace_.rows) {  // more than one part only of a single window
      const std::size_t size = std::min(n - part, workspace_.rows), rows = count * size, at = first * n + part;
      for (std::size_t i = 0; i < count; ++i) sequences_[i] = {caches_[i], part, size};
      weights_.embedding.look_up(executor_, rows, ids.data() + at, workspace_.x.data());
      nn::forward_blocks(executor_, weights_, std::span(sequences_).first(count), workspace_, jobs_,
                         [](std::size_t, std::span<const float>) { check_interrupt(kStopped); });
      for (std::size_t row = 0; row < rows; row += kHeadRows) {
        const std::size_t some = std::min(kHeadRows, rows - row);
        check_interrupt(kStopped);
        nn::forward_head(executor_, weights_, workspace_, row, some, logits_.data());
        kernels::cross_entropy(executor_, some, vocab, logits_.data(), targets.data() + at + row,
                               losses.data() + at + row, nullptr, 1);
      }
    }
  }
}

}  // namespace lowbit::run
