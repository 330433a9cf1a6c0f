#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/math.h"
#include "lowbit/formats/grid.h"

// What each instruction set provides for code_rows.h: one row at a time. Internal to kernels/.
namespace lowbit::kernels {

/// A rotation as the kernels need it: scale is reference::hadamard_scale(group).
struct Rotation {
  int group;  ///< 1 (none), or a power of two up to 128
  float scale;
};

struct CodeRowJob {
  const float* x;  ///< [k]
  std::size_t k;
  Rotation rotation;
  const Grid* grid;
  float trust_factor;
  float* rotated;       ///< scratch of k floats rounded up to 16, 64-byte aligned; not used by group 1
  std::uint8_t* codes;  ///< [code_stride(k)]
  float* scale;         ///< one
  std::int32_t* sum;    ///< one
  std::uint64_t* mask;  ///< [mask_words(k)] or null
};

struct DecodeRowJob {
  const std::uint8_t* codes;  ///< [code_stride(k)]
  std::size_t k;
  Rotation rotation;
  const Grid* grid;
  float scale;
  float* y;  ///< [k]
};

struct RowForms {
  void (*code)(const CodeRowJob& job);
  void (*decode)(const DecodeRowJob& job);
  /// y = (x o mask) H; y may be x; mask null: all.
  void (*rotate)(Rotation rotation, std::size_t k, const float* x, const std::uint64_t* mask, float* y);
};

#if defined(__x86_64__)
extern const RowForms kRowFormsAvx2;
extern const RowForms kRowFormsAvx512;
#endif

/// What follows from a row's sum of squares: reference.h code_row, the same operations one for one.
struct RowScale {
  float inverse, scale, threshold;
};
inline RowScale row_scale(float sum, std::size_t k, const Grid& grid, float trust_factor) {
  const float r = math::sqrt(sum / static_cast<float>(k));
  const float s = static_cast<float>(grid.alpha) * r + 1e-8f;
  const float step = grid.zero_is_level ? s : (2.0f * s) / static_cast<float>(grid.levels - 1);
  // Infinity trusts all, also in a row of zeros, where infinity * r would be NaN.
  const float threshold = trust_factor == __builtin_inff() ? trust_factor : trust_factor * r;
  return {1.0f / step, grid.zero_is_level ? s : step * 0.5f, threshold};
}

}  // namespace lowbit::kernels
