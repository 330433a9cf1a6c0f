#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/executor.h"
#include "lowbit/formats/format.h"

namespace lowbit::kernels {

/// Bytes between coded rows of K codes, one byte a code: K rounded up to 64. Codes past K are 0.
constexpr std::size_t code_stride(std::size_t k) { return (k + 63) / 64 * 64; }
/// 64-bit words of one row's trust mask; bits past K are 0.
constexpr std::size_t mask_words(std::size_t k) { return (k + 63) / 64; }

/// How the rows of one operand are coded.
struct RowCoding {
  const Grid* grid;      ///< not null; one with pairs needs rows of a multiple of 8
  int group;             ///< Hadamard group, 1: no rotation
  TrustRule trust;       ///< used only where a mask is asked for
  ScaleRule scale = ScaleRule::rms;
  SparseScale sparse_scale = SparseScale::dense;
  float step = 0;        ///< of ScaleRule::learned
  Shift shift = Shift::none;
  float offset = 0;      ///< of Shift::learned
};

/// Where coded rows go, or lie. Memory belongs to the caller.
struct CodedRows {
  std::uint8_t* codes;   ///< [rows, code_stride(K)]: u = k - lowest
  float* scale;          ///< [rows]: h
  std::int32_t* sum;     ///< [rows]: sum of u over the K codes
  std::uint64_t* mask;   ///< [rows, mask_words(K)], or null: bit i % 64 of word i / 64 is 1 where entry i is trusted
  float* offset = nullptr;  ///< [rows], with Shift::mean: what stands beside o * h
};

/// Rotates (in registers; x stays as it is), scales and codes each row, and sums its codes:
/// docs/reference/arithmetic.md, "Coding a row". A shift is taken off after the rotation. x: [rows, K], row stride
/// x_stride floats. Bits equal on every instruction set and thread count. source  QuEST (arXiv 2502.05003), section 3.
void code_rows(Executor& executor, const RowCoding& coding, std::size_t rows, std::size_t k, const float* x,
               std::size_t x_stride, const CodedRows& out);

/// bf16+2:4: y = x where a pair survives and 0 where it does not, no scale, no rotation. x, y: [rows, k] contiguous, k
/// a multiple of
/// 8. mask: as in CodedRows, 1 for what survives.
/// source  QuEST, arXiv 2502.05003, section 4 (2:4 sparsity); the masked baseline of its published code.
void mask_pairs(Executor& executor, std::size_t rows, std::size_t k, const float* x, float* y, std::uint64_t* mask);

/// y = x H row by row (in place when y == x): strides in floats.
void rotate_rows(Executor& executor, int group, std::size_t rows, std::size_t k, const float* x, std::size_t x_stride,
                 float* y, std::size_t y_stride);

/// g = (g o mask) H row by row, in place: the quantizer's backward pass. mask null: all trusted. group 1: no rotation.
/// source  QuEST, arXiv 2502.05003, section 3.3: dX = ((dY . wq) o M) H.
void mask_and_rotate_rows(Executor& executor, int group, std::size_t rows, std::size_t k, const std::uint64_t* mask,
                          float* g, std::size_t g_stride);

/// y = (float(o) * h) H, or a table's level in o's place: decodes rows and rotates them back (the embedding of a coded
/// head). codes as in CodedRows. ids: which rows, [rows] of them; null: the first `rows`.
void decode_rows(Executor& executor, const RowCoding& coding, std::size_t rows, const std::int32_t* ids, std::size_t k,
                 const std::uint8_t* codes, const float* scale, float* y, std::size_t y_stride);

}  // namespace lowbit::kernels
