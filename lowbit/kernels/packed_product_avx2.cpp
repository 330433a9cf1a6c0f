#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "lowbit/kernels/code_product_forms.h"
#include "lowbit/kernels/packed_panels.h"
#include "lowbit/kernels/packed_product_forms.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

struct Lanes {
  using V = __m256i;
  static LOWBIT_INLINE V load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  template <int N>
  static LOWBIT_INLINE V shift_right(V v) {
    if constexpr (N > 0) return _mm256_srli_epi16(v, N);
    if constexpr (N < 0) return _mm256_slli_epi16(v, -N);
    return v;
  }
  template <int Mask>
  static LOWBIT_INLINE V masked(V v) {
    return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(Mask)));
  }
  template <int Mask>
  static LOWBIT_INLINE V merged(V a, V v) {
    return _mm256_or_si256(a, masked<Mask>(v));
  }
};

#include "lowbit/kernels/packed_quads-inl.h"

// A block's codes of 8 outputs, a byte each.
template <int Bits>
LOWBIT_INLINE void unpack_half(const std::uint8_t* block, __m256i (&quads)[8]) {
  [&]<int... Q>(std::integer_sequence<int, Q...>) __attribute__((always_inline)) {
    ((quads[Q] = quad_of<Lanes, Bits, Q>(block)), ...);
  }
  (std::make_integer_sequence<int, 8>());
}

LOWBIT_INLINE __m256i four_values(const std::int8_t* x) {
  std::int32_t values;
  __builtin_memcpy(&values, x, 4);
  return _mm256_set1_epi32(values);
}

// Sums of two products in 16 bits: how many fit, 2^15 / (2 * 128 * (2^Bits - 1)). Of 8-bit codes not even one does, and
// bytes are widened.
template <int Bits>
LOWBIT_INLINE __m256i add_block(const __m256i (&quads)[8], const std::int8_t* x, __m256i sum) {
  if constexpr (Bits == 8) {
    const __m256i low_byte = _mm256_set1_epi16(0xFF);
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q) {
      const __m256i v = four_values(x + 4 * q);
      const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8), odd = _mm256_srai_epi16(v, 8);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_and_si256(quads[q], low_byte), even));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_srli_epi16(quads[q], 8), odd));
    }
  } else {
    constexpr int kFit = 32768 / (2 * 128 * ((1 << Bits) - 1)),
                  kSteps = kFit < 8 ? (kFit < 4 ? (kFit < 2 ? 1 : 2) : 4) : 8;
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int q = 0; q < 8; q += kSteps) {
      __m256i part = _mm256_maddubs_epi16(quads[q], four_values(x + 4 * q));
#pragma GCC unroll 8
      for (int i = 1; i < kSteps; ++i)
        part = _mm256_add_epi16(part, _mm256_maddubs_epi16(quads[q + i], four_values(x + 4 * (q + i))));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, ones));
    }
  }
  return sum;
}

template <int Bits, int Rows>
void rows_by_panel(const PackedTile& t, std::size_t row, std::size_t panel) {
  const std::uint8_t* block = t.w + panel * t.panel_bytes;
  const std::int8_t* x = t.x + row * t.x_stride;
  __m256i sum[Rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 1
  for (std::size_t b = 0; b < t.blocks; ++b, x += 32, block += 64 * Bits)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256i quads[8];
      unpack_half<Bits>(block + 32 * half, quads);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
        sum[r][half] = add_block<Bits>(quads, x + static_cast<std::size_t>(r) * t.x_stride, sum[r][half]);
    }

  const __m128i shift = _mm_cvtsi32_si128(t.factors.shift);
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t first = 16 * panel + 8 * half;
    if (first >= t.outputs) break;
    const __m256i of_w = _mm256_mullo_epi32(Lanes::load(t.w_sum + first), _mm256_set1_epi32(t.factors.of_w));
    const __m256 scale = _mm256_loadu_ps(t.w_scale + first);
    const std::size_t left = t.outputs - first;
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const std::size_t m = row + static_cast<std::size_t>(r);
      const auto of_x = static_cast<std::uint32_t>(t.factors.of_x) * static_cast<std::uint32_t>(t.x_sum[m]);
      const __m256i same = _mm256_set1_epi32(static_cast<std::int32_t>(of_x + t.factors.constant));
      const __m256i s = _mm256_add_epi32(_mm256_sll_epi32(sum[r][half], shift), _mm256_add_epi32(of_w, same));
      const __m256 h = _mm256_mul_ps(_mm256_set1_ps(t.x_scale[m]), scale);
      const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(s), h);
      float* out = t.y + m * t.y_stride + first;
      if (left >= 8) {
        _mm256_storeu_ps(out, y);
      } else {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_maskstore_ps(out, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), lane), y);
      }
    }
  }
}

template <int Bits>
void tile(const PackedTile& t) {
  const std::size_t panels = (t.outputs + 15) / 16;
  // Rows in tiles of nearly equal height: 5 rows are 3 and 2, not 4 and 1.
  const std::size_t tiles = (t.rows + kPackedRowsAvx2 - 1) / kPackedRowsAvx2;
  for (std::size_t panel = 0; panel < panels; ++panel) {
    for (std::size_t i = 0; i < tiles; ++i) {
      const std::size_t row = t.rows * i / tiles;
      switch (t.rows * (i + 1) / tiles - row) {
        case 1:
          rows_by_panel<Bits, 1>(t, row, panel);
          break;
        case 2:
          rows_by_panel<Bits, 2>(t, row, panel);
          break;
        case 3:
          rows_by_panel<Bits, 3>(t, row, panel);
          break;
        default:
          rows_by_panel<Bits, 4>(t, row, panel);
          break;
      }
    }
  }
}

template <int Bits>
void unpack(const UnpackTile& t) {
  const __m256i lowest = _mm256_set1_epi8(static_cast<char>(t.lowest));
  const std::uint8_t* block = t.panel;
  std::int8_t* out = t.out;
  for (std::size_t b = 0; b < t.blocks; ++b, block += 64 * Bits, out += 512)
    for (int half = 0; half < 2; ++half) {
      __m256i quads[8];
      unpack_half<Bits>(block + 32 * half, quads);
#pragma GCC unroll 8
      for (int q = 0; q < 8; ++q)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 64 * q + 32 * half), _mm256_add_epi8(quads[q], lowest));
    }
}

}  // namespace

void packed_tile_avx2(const PackedTile& t) {
  constexpr decltype(&tile<1>) kForms[] = {&tile<1>, &tile<2>, &tile<3>, &tile<4>,
                                           &tile<5>, &tile<6>, &tile<7>, &tile<8>};
  kForms[t.bits - 1](t);
}

void unpack_panel_avx2(const UnpackTile& t) {
  constexpr decltype(&unpack<1>) kForms[] = {&unpack<1>, &unpack<2>, &unpack<3>, &unpack<4>,
                                             &unpack<5>, &unpack<6>, &unpack<7>, &unpack<8>};
  kForms[t.bits - 1](t);
}

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
