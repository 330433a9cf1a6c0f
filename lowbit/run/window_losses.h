#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "lowbit/run/engine.h"

namespace lowbit::run {

/// Losses of whole windows, several at once: what evaluation asks of a model.
class WindowLosses {
 public:
  /// length  tokens of a window, at most the model's context; rows: about how many tokens to compute at once.
  WindowLosses(Executor& executor, const nn::LlamaWeights& weights, std::size_t length, std::size_t rows = 2048);

  /// ids, targets, losses: [windows * n] with n <= length tokens a window; window i starts at position 0.
  /// losses: negative log likelihood of each target in nats (kernels/reference.h, cross_entropy_row).
  /// throws Error(input): an id outside the vocabulary. Interrupted, between two layers.
  void operator()(std::span<const std::int32_t> ids, std::span<const std::int32_t> targets, std::size_t n,
                  std::span<double> losses);

  std::size_t windows_at_once() const { return sequences_.size(); }

 private:
  Executor& executor_;
  const nn::LlamaWeights& weights_;
  nn::Workspace workspace_;
  Buffer<std::byte> memory_;
  std::vector<std::vector<kernels::KeyValues>> caches_;
  std::vector<nn::SequenceRows> sequences_;
  std::vector<kernels::AttentionJob> jobs_;
  Buffer<float> logits_;
};

}  // namespace lowbit::run
