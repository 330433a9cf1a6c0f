#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "lowbit/base/aligned.h"
#include "lowbit/base/executor.h"
#include "lowbit/kernels/code_rows.h"

namespace lowbit::kernels {

/// How a code of b bits is cut up in PackedPanels: its fields are b's binary digits, large ones first, low bits of the
/// code first: 7 bits are fields of 4, 2 and 1. In a block of 32 codes of 16 outputs a field of f bits takes f vectors
/// of 64 bytes; vector v holds the quads v * 8/f + i of 4 codes, quad i in bits f*i and up of each byte.
struct CodeFields {
  int count = 0;
  int bits[3] = {};    ///< f
  int low[3] = {};     ///< the code's bit at which the field begins
  int vector[3] = {};  ///< the block's vector at which the field begins: the same number
};
constexpr CodeFields code_fields(int bits) {
  CodeFields fields;
  int at = 0;
  for (int f = 8; f > 0; f /= 2) {
    if (!(bits & f)) continue;
    fields.bits[fields.count] = f;
    fields.low[fields.count] = fields.vector[fields.count] = at;
    ++fields.count;
    at += f;
  }
  return fields;
}

/// Coded weights at their own width, as the products read them where memory is the bound: panels of 16 outputs; along
/// K, blocks of 32 codes, storage_bits * 64 bytes each. A vector is [16 outputs][4 bytes], and byte j of an output
/// belongs to k = 4 * quad + j of the block. Codes are unsigned (u); pads are 0.
struct PackedPanels {
  const Grid* grid = nullptr;
  std::size_t n = 0, k = 0;
  Buffer<std::uint8_t> data;  ///< [ceil(n/16)][packed_blocks(k)][storage_bits][64]
  Buffer<std::int32_t> sum;   ///< [n rounded up to 16]: sum of u over the row
  Buffer<float> scale;        ///< [n rounded up to 16]: h; pads 0

  std::size_t panel_bytes() const;
  std::size_t bytes() const { return data.size() + 4 * (sum.size() + scale.size()); }
};

/// Blocks of 32 codes along a row of K.
constexpr std::size_t packed_blocks(std::size_t k) { return code_stride(k) / 32; }

/// From coded rows (codes and scale are read).
void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                 PackedPanels& panels);
/// From the canonical layout (formats/layout.h). canonical: n rows of canonical_row_bytes; scale: [n].
/// throws Error(input): a code that the grid does not have.
void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k,
                 std::span<const std::uint8_t> canonical, std::span<const float> scale, PackedPanels& panels);

inline constexpr std::size_t kMostProducts = 8;
/// One of several products that read the same rows.
struct PackedProduct {
  const PackedPanels* weights;
  float* y;              ///< [m, weights->n]
  std::size_t y_stride;  ///< in floats
};

/// y[m][n] = float(sum over k of o_x o_w) * (h_x[m] * h_w[n]) for each product, exact sums: the bits of the
/// code_product over CodePanels. Few rows are multiplied out of the packed bytes; for many each group of panels is
/// unpacked once. At most kMostProducts, all of the same k. Requires k <= longest_row(x_grid, grid) (asserted).
void code_products(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x,
                   std::span<const PackedProduct> products);
void code_product(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x, const PackedPanels& w,
                  float* y, std::size_t y_stride);

}  // namespace lowbit::kernels
