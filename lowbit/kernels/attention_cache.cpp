#include <algorithm>
#include <cassert>
#include <cstring>

#include "lowbit/kernels/attention.h"
#include "lowbit/kernels/attention_task.h"
#include "lowbit/kernels/panel_rows.h"

namespace lowbit::kernels {
namespace {

// `rows` positions, at most 16 and all in one panel, of one key-value head.
struct Rows {
  std::size_t position, rows, head_dim;
  const float *k, *v;
  std::size_t k_stride, v_stride;
};

void store_floats(const HeadCache& to, const Rows& r) {
  float* panel = to.keys + r.position / 16 * r.head_dim * 16 + r.position % 16;
  if (r.rows == 16)
    interleave_16(r.head_dim, r.k, r.k_stride, panel);
  else
    for (std::size_t i = 0; i < r.rows; ++i)
      for (std::size_t j = 0; j < r.head_dim; ++j) panel[j * 16 + i] = r.k[i * r.k_stride + j];
  for (std::size_t i = 0; i < r.rows; ++i)
    std::copy_n(r.v + i * r.v_stride, r.head_dim, to.values + (r.position + i) * padded_head(r.head_dim));
}

void store_pairs(const HeadCache& to, const Rows& r) {
  constexpr std::size_t kPitch = kLongestHead + 32;
  alignas(64) bf16 row[16][kPitch];
  for (std::size_t i = 0; i < r.rows; ++i) round_row(r.head_dim, r.k + i * r.k_stride, row[i]);
  auto* panel = reinterpret_cast<bf16*>(to.keys) + r.position / 16 * r.head_dim * 16 + r.position % 16 * 2;
  if (r.rows == 16)
    interleave_16(r.head_dim / 2, reinterpret_cast<const float*>(row[0]), kPitch / 2, reinterpret_cast<float*>(panel));
  else
    for (std::size_t j = 0; j < r.head_dim; j += 2)
      for (std::size_t i = 0; i < r.rows; ++i) std::memcpy(panel + j * 16 + 2 * i, &row[i][j], 4);
  const std::size_t stride = 2 * padded_head(r.head_dim);
  for (std::size_t i = 0; i < r.rows; ++i) round_row(r.head_dim, r.v + i * r.v_stride, row[i]);
  for (std::size_t i = 0; i < r.rows;) {
    const std::size_t position = r.position + i;
    bf16* pair = reinterpret_cast<bf16*>(to.values) + position / 2 * stride;
    if (position % 2 == 0 && i + 1 < r.rows) {
      for (std::size_t j = 0; j < r.head_dim; ++j) {
        pair[2 * j] = row[i][j];
        pair[2 * j + 1] = row[i + 1][j];
      }
      i += 2;
    } else {
      for (std::size_t j = 0; j < r.head_dim; ++j) pair[2 * j + position % 2] = row[i][j];
      ++i;
    }
  }
}

}  // namespace

std::size_t key_value_bytes(const AttentionShape& shape, std::size_t capacity) {
  check_attention(shape, {nullptr, capacity});
  return shape.kv_heads * capacity * (shape.head_dim + padded_head(shape.head_dim)) * (holds_pairs(shape) ? 2 : 4);
}

void store_keys(const AttentionShape& shape, const KeyValues& cache, std::size_t first, std::size_t rows,
                const float* k, std::size_t k_stride, const float* v, std::size_t v_stride) {
  check_attention(shape, cache);
  assert(first + rows <= cache.capacity);
  for (std::size_t head = 0; head < shape.kv_heads; ++head) {
    const HeadCache to = head_cache(shape, cache, head);
    for (std::size_t i = 0; i < rows;) {
      Rows part{first + i, 0, shape.head_dim, k + i * k_stride + head * shape.head_dim,
                v + i * v_stride + head * shape.head_dim, k_stride, v_stride};
      part.rows = std::min(rows - i, 16 - part.position % 16);
      if (holds_pairs(shape))
        store_pairs(to, part);
      else
        store_floats(to, part);
      i += part.rows;
    }
  }
}

}  // namespace lowbit::kernels
