#pragma once
#include <cstddef>
#include <cstdint>

// What each instruction set provides for gradients of learned steps and offsets (backward.h) and for offsets.h: one row
// at a time. Internal to kernels/.
namespace lowbit::kernels {

struct StepRow {
  const float *g, *x;         ///< [k]: gradient of the coded values, and what was coded, still with the offset
  const std::uint8_t* codes;  ///< [k]
  std::size_t k;
  float offset, inverse, edge;  ///< of the inputs; 1 / D; where |x - offset| is clamped
  float factor, addend;         ///< a code's level in units of D is factor * u + addend
  bool clamped_only;
};
struct RowSums {
  float step, offset;
};

struct OffsetForms {
  /// reference::step_gradient_row and offset_gradient_row.
  RowSums (*step)(const StepRow& row);
  /// reference::adabin_input_row, x still with the offset: g [k] becomes the gradient of x. returns those of alpha and
  /// beta.
  RowSums (*adabin)(std::size_t k, float alpha, float offset, const float* x, float* g);
  /// y += a * x, two roundings: bits equal on every instruction set.
  void (*add_scaled)(std::size_t n, float a, const float* x, float* y);
  float (*dot)(std::size_t n, const float* a, const float* b);
};

const OffsetForms& offset_forms();

namespace forms {
extern const OffsetForms offset_plain;
#if defined(__x86_64__)
extern const OffsetForms offset_avx2, offset_avx512;
#endif
}  // namespace forms

}  // namespace lowbit::kernels
