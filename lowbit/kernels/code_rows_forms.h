#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/math.h"
#include "lowbit/formats/format.h"

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
  const Grid* grid;  ///< never one of 2:4: its rows are coded on the dense grid first
  ScaleRule rule;
  TrustRule trust;
  float step;           ///< of ScaleRule::learned; r itself with ScaleRule::mse
  float* rotated;       ///< scratch of k floats rounded up to 16, 64-byte aligned; not used by group 1
  std::uint8_t* codes;  ///< [code_stride(k)]
  float* scale;         ///< one
  std::int32_t* sum;    ///< one
  std::uint64_t* mask;  ///< [mask_words(k)] or null
  float* rms;           ///< one: r
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

/// What follows from a row's sum of squares and largest magnitude: reference.h code_row, the same operations one for
/// one.
struct RowScales {
  float cells, scale, threshold, hole_begin, hole_end;
};
RowScales row_scales(const CodeRowJob& job, float sum, float largest);
/// reference::table_edge of each level but the last.
void table_edges(const Grid& grid, float* edges);

}  // namespace lowbit::kernels
