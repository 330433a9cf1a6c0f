#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/executor.h"
#include "lowbit/formats/format.h"

namespace lowbit::kernels {

struct AttentionShape {
  std::size_t heads, kv_heads, head_dim;  ///< heads a multiple of kv_heads, head_dim even
  AttentionFormat format;
};

/// The keys and values of one layer of one sequence, for up to `capacity` positions, as the kernel reads them: for each
/// key-value head K in panels of 16 keys (f32: [capacity/16][head_dim][16]; bf16:
/// [capacity/16][ceil(head_dim/2)][16][2]) and V in rows padded to 16 (f32: [capacity][pad16(head_dim)]; bf16:
/// [capacity/2][pad16(head_dim)][2]). capacity is a multiple of kKeyBlock; the memory begins as zeros and is aligned to
/// 64 bytes.
struct KeyValues {
  std::byte* memory;
  std::size_t capacity;
};
/// Bytes of one KeyValues (all kv heads), a multiple of 64.
std::size_t key_value_bytes(const AttentionShape& shape, std::size_t capacity);

/// Stores rows of k (already rotated by rope) and v, [rows, kv_heads * head_dim] with the given row strides, at
/// positions first .. first + rows - 1.
void store_keys(const AttentionShape& shape, const KeyValues& cache, std::size_t first, std::size_t rows,
                const float* k, std::size_t k_stride, const float* v, std::size_t v_stride);

/// One sequence of a batch: `rows` queries at positions first .. first + rows - 1, whose keys are stored.
struct AttentionJob {
  KeyValues cache;
  std::size_t first, rows;
  const float* q;        ///< [rows, heads * head_dim], row stride q_stride; rotated by rope
  float* out;            ///< like q, row stride out_stride
  float* log_sum;        ///< [heads, rows] log of the softmax's denominator, or null
};
/// Causal attention (row at position p sees keys 0..p), reference.h attention_row / attention_row_bf16 bit for bit,
/// whatever the chunks, jobs and threads. scratch-free: allocates nothing.
void attention(Executor& executor, const AttentionShape& shape, std::size_t jobs, const AttentionJob* job,
               std::size_t q_stride, std::size_t out_stride);

}  // namespace lowbit::kernels
