#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lowbit/base/aligned.h"
#include "lowbit/nn/llama.h"

namespace lowbit::run {

/// The keys and values of one sequence: memory for `capacity` positions, taken once.
class Sequence {
 public:
  /// throws Error(input): capacity is beyond the model's context or the rotary table.
  Sequence(const nn::LlamaWeights& weights, std::size_t capacity);

  std::size_t length() const { return length_; }      ///< positions filled
  std::size_t capacity() const { return capacity_; }  ///< positions there is room for
  /// Forgets everything from position `length` on. Requires length <= length().
  void cut(std::size_t length);
  /// Bytes that a sequence of this capacity takes.
  static std::size_t bytes(const nn::LlamaWeights& weights, std::size_t capacity);

 private:
  friend class Engine;
  std::size_t capacity_, length_ = 0;
  Buffer<std::byte> memory_;
  std::vector<kernels::KeyValues> layers_;
};

/// Runs a model over sequences. Buffers are taken when it is made; feeding allocates nothing. However tokens are cut
/// into calls, the logits have the same bits (docs/reference/arithmetic.md).
class Engine {
 public:
  /// most_rows   tokens computed at once; longer feeds are cut into chunks of this many.
  Engine(Executor& executor, const nn::LlamaWeights& weights, std::size_t most_rows);

  /// Appends tokens and writes the logits of each of them: [tokens, vocabulary].
  /// throws Error(input): a token id outside the vocabulary, or no room left in the sequence.
  void feed_all(Sequence& sequence, std::span<const std::int32_t> tokens, float* logits);
  /// Appends tokens and writes the logits of the last one: [vocabulary].
  void feed(Sequence& sequence, std::span<const std::int32_t> tokens, float* logits);

  /// Appends one token to each of several sequences, computed together: logits [sequences, vocabulary]. The bits are
  /// those of feeding each alone. Requires no sequence twice. throws Error(input): as above, or more sequences than
  /// most_rows.
  void feed_each(std::span<Sequence* const> sequences, std::span<const std::int32_t> tokens, float* logits);

  const nn::LlamaWeights& weights() const { return weights_; }
  std::size_t most_rows() const { return workspace_.rows; }
  Executor& executor() { return executor_; }

 private:
  void check(const Sequence& sequence, std::span<const std::int32_t> tokens) const;
  void feed_chunk(Sequence& sequence, std::span<const std::int32_t> tokens);

  Executor& executor_;
  const nn::LlamaWeights& weights_;
  nn::Workspace workspace_;
  std::vector<nn::SequenceRows> together_;
  std::vector<kernels::AttentionJob> jobs_;
};

}  // namespace lowbit::run
