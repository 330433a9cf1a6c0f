#include "lowbit/kernels/backward_int8_form.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {

#include "lowbit/kernels/backward_int8-inl.h"

namespace {

LOWBIT_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

/// Four rows by one panel, two registers wide: 8 sums of 16 registers. Where two products of a code and a gradient fit
/// 16 bits (codes up to 7 bits), vpmaddubsw adds them; else even and odd bytes are widened first.
template <bool kWide>
void tile(const Int8Block& t, const std::int8_t* a, std::size_t row_step, std::size_t quad_step,
          const std::uint8_t* b, __m256i (&sum)[4][2]) {
  const __m256i ones = _mm256_set1_epi16(1), low_byte = _mm256_set1_epi16(255);
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 1
  for (std::size_t q = 0; q < t.quads; ++q, a += quad_step, b += 64) {
    const __m256i b0 = load(b), b1 = load(b + 32);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 4; ++r) {
      std::int32_t four;
      __builtin_memcpy(&four, a + r * row_step, 4);
      const __m256i g = _mm256_set1_epi32(four);
      if constexpr (kWide) {
        const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(g, 8), 8), odd = _mm256_srai_epi16(g, 8);
        const __m256i from[2] = {b0, b1};
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(_mm256_and_si256(from[h], low_byte), even));
          sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(_mm256_srli_epi16(from[h], 8), odd));
        }
      } else {
        sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(_mm256_maddubs_epi16(b0, g), ones));
        sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(_mm256_maddubs_epi16(b1, g), ones));
      }
    }
  }
}

void product(const Int8Block& t) {
  const std::size_t row_step = t.by_rows ? kGradientBlock : 4, quad_step = t.by_rows ? 4 : 64;
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m128i shift = _mm_cvtsi32_si128(t.shift);
  const std::uint8_t* b = t.b;
  for (std::size_t j = 0; j < t.columns; j += kInt8Columns, b += t.b_panel_bytes)
    for (std::size_t i = 0; i < t.rows; i += 4) {
      const std::int8_t* const a =
          t.by_rows ? t.a + i * kGradientBlock : t.a + i / 16 * t.a_panel_bytes + i % 16 * 4;
      __m256i sum[4][2];
      if (t.wide)
        tile<true>(t, a, row_step, quad_step, b, sum);
      else
        tile<false>(t, a, row_step, quad_step, b, sum);
      for (std::size_t r = 0; r < 4 && i + r < t.rows; ++r) {
        const __m256i constant = _mm256_set1_epi32(t.offset * t.sum[i + r]);
        const __m256 scale = _mm256_set1_ps(t.scale[i + r]);
        for (std::size_t h = 0; h < 2 && j + 8 * h < t.columns; ++h) {
          float* const c = t.c + (i + r) * t.c_stride + j + 8 * h;
          const __m256 s = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_sll_epi32(sum[r][h], shift), constant));
          const std::size_t left = t.columns - j - 8 * h;
          const __m256i valid = _mm256_cmpgt_epi32(_mm256_set1_epi32(left < 8 ? static_cast<int>(left) : 8), lane);
          const __m256 y =
              t.overwrite ? _mm256_mul_ps(s, scale) : _mm256_fmadd_ps(s, scale, _mm256_maskload_ps(c, valid));
          _mm256_maskstore_ps(c, valid, y);
        }
      }
    }
}

}  // namespace

namespace forms {
const Int8Form avx2_int8{"AVX2", &code_rows_plain, &code_columns_plain, &pack_codes_plain, &product};
}  // namespace forms
}  // namespace lowbit::kernels

#pragma GCC pop_options
#endif
