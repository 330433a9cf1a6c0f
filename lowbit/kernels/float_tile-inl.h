// Included once per instruction set: Highway turns the toggle over between them.
#if defined(LOWBIT_KERNELS_FLOAT_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWBIT_KERNELS_FLOAT_TILE_INL_H
#undef LOWBIT_KERNELS_FLOAT_TILE_INL_H
#else
#define LOWBIT_KERNELS_FLOAT_TILE_INL_H
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lowbit/kernels/vector_math-inl.h"

// The inner loop that float products and attention share: a tile of R rows by P panels of 16 outputs stays in registers
// while the contracted index is walked once, in order. Operands are seen as 32-bit words: a float, or a pair of
// bfloat16 of neighbouring contracted indices.
#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

// kRows x kPanels is the largest tile whose sums and operands fit the registers (32 of 16 floats, or 16 of 8); kWide is
// how many panels a single row takes at once, so that enough sums are in flight to hide the latency of an fma.

/// Order (a).
struct FloatWords {
  static constexpr std::size_t kRows = 6, kPanels = kParts == 1 ? 4 : 1, kWide = kParts == 1 ? 8 : 4;
  using Weight = FloatVector;
  using Row = FloatVector;
  static HWY_INLINE Weight load(const float* w) { return hn::LoadU(Float(), w); }
  static HWY_INLINE Row broadcast(const float* x) { return hn::Set(Float(), *x); }
  static HWY_INLINE FloatVector step(FloatVector sum, Row x, Weight w) { return hn::MulAdd(x, w, sum); }
};

/// Order (c) by two fmas.
struct PairWords {
  static constexpr std::size_t kRows = kParts == 1 ? 6 : 4, kPanels = kParts == 1 ? 3 : 1, kWide = kParts == 1 ? 6 : 3;
  struct Halves {
    FloatVector even, odd;
  };
  using Weight = Halves;
  using Row = Halves;
  static HWY_INLINE Halves split(hn::Vec<hn::RebindToUnsigned<Float>> words) {
    const Float d;
    const hn::RebindToUnsigned<Float> du;
    return {hn::BitCast(d, hn::ShiftLeft<16>(words)), hn::BitCast(d, hn::And(words, hn::Set(du, 0xFFFF0000u)))};
  }
  static HWY_INLINE Halves load(const float* w) {
    return split(hn::BitCast(hn::RebindToUnsigned<Float>(), hn::LoadU(Float(), w)));
  }
  static HWY_INLINE Halves broadcast(const float* x) {
    std::uint32_t word;
    std::memcpy(&word, x, sizeof(word));
    return split(hn::Set(hn::RebindToUnsigned<Float>(), word));
  }
  static HWY_INLINE FloatVector step(FloatVector sum, Halves x, Halves w) {
    return hn::MulAdd(x.even, w.even, hn::MulAdd(x.odd, w.odd, sum));
  }
};

#if HWY_TARGET == HWY_AVX3
/// Order (c) by the processor's own instruction, where it has AVX512-BF16. Written as assembly because its intrinsic
/// asks for a target of its own, into which Highway's functions would not be inlined.
struct Bf16Words {
  static constexpr std::size_t kRows = 6, kPanels = 4, kWide = 8;
  using Weight = __m512i;
  using Row = __m512i;
  static HWY_INLINE Weight load(const float* w) { return _mm512_loadu_si512(w); }
  static HWY_INLINE Row broadcast(const float* x) {
    int word;
    std::memcpy(&word, x, sizeof(word));
    return _mm512_set1_epi32(word);
  }
  static HWY_INLINE FloatVector step(FloatVector sum, Row x, Weight w) {
    __m512 raw = sum.raw;
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(raw) : "v"(x), "v"(w));
    return FloatVector{raw};
  }
};
#endif

/// sums[r][16 p ..] = sum over step < steps of x[r][step] w[p * panel_stride + step * step_stride + lane], one after
/// another, going on from what sums holds. Strides in words.
template <class Words, std::size_t R, std::size_t P>
HWY_INLINE void accumulate(FloatVector (&sums)[R][P * kParts], const float* const* x, const float* w,
                           std::size_t panel_stride, std::size_t step_stride, std::size_t steps) {
  const float* row[R];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < R; ++r) row[r] = x[r];
  for (std::size_t step = 0; step < steps; ++step, w += step_stride) {
    typename Words::Weight weight[P * kParts];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < P * kParts; ++i)
      weight[i] = Words::load(w + i / kParts * panel_stride + i % kParts * kLanes);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r) {
      const auto value = Words::broadcast(row[r] + step);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < P * kParts; ++i) sums[r][i] = Words::step(sums[r][i], value, weight[i]);
    }
  }
}

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET
#endif
