#pragma once
#include <cassert>
#include <cstddef>

#include "lowbit/kernels/attention.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels {

inline constexpr std::size_t kLongestHead = 256;  // head_dim that the kernels' stack memory is made for

/// V rows are padded to whole vectors of 16.
constexpr std::size_t padded_head(std::size_t head_dim) { return (head_dim + 15) / 16 * 16; }

/// The memory of one key-value head, seen as 32-bit words: a float, or two bfloat16 (of neighbouring dims in K, of
/// neighbouring positions in V).
struct HeadCache {
  float* keys;    ///< [capacity/16][words][16], words = head_dim or head_dim/2
  float* values;  ///< [capacity or capacity/2][padded_head]
};

inline bool holds_pairs(const AttentionShape& shape) { return shape.format == AttentionFormat::bf16; }

inline HeadCache head_cache(const AttentionShape& shape, const KeyValues& cache, std::size_t head) {
  const std::size_t half = holds_pairs(shape) ? 2 : 1;
  const std::size_t key_words = cache.capacity * shape.head_dim / half;
  const std::size_t value_words = cache.capacity / half * padded_head(shape.head_dim);
  auto* words = reinterpret_cast<float*>(cache.memory) + head * (key_words + value_words);
  return {words, words + key_words};
}

inline void check_attention([[maybe_unused]] const AttentionShape& shape, [[maybe_unused]] const KeyValues& cache) {
  assert(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0);
  assert(shape.head_dim > 0 && shape.head_dim % 2 == 0 && shape.head_dim <= kLongestHead);
  assert(cache.capacity % reference::kKeyBlock == 0);
}

/// Some queries of one sequence against one key-value head, for one thread: positions `position` .. position + count -
/// 1, all in one block of 64 keys, each with the `group` query heads that share the keys.
struct AttentionTask {
  std::size_t position, count, group, head_dim;
  HeadCache cache;
  const float* q;        ///< first position, first head of the group; heads follow head_dim apart
  float* out;
  std::size_t q_stride, out_stride;
  float* log_sum;        ///< of the first head and position, or null
  std::size_t log_sum_stride;  ///< between heads
};

}  // namespace lowbit::kernels
