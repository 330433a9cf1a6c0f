#if defined(__x86_64__)
// GCC 12's own AVX-512 intrinsics begin from a register that is left undefined on purpose, and it warns of that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "lowbit/kernels/code_rows_forms.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

using F16 = __m512;

LOWBIT_INLINE __mmask16 first(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1); }
LOWBIT_INLINE F16 load(const float* p) { return _mm512_loadu_ps(p); }
LOWBIT_INLINE F16 load_first(const float* p, std::size_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
LOWBIT_INLINE void store(float* p, F16 v) { _mm512_storeu_ps(p, v); }
LOWBIT_INLINE void store_first(float* p, F16 v, std::size_t n) { _mm512_mask_storeu_ps(p, first(n), v); }
LOWBIT_INLINE F16 zero() { return _mm512_setzero_ps(); }
LOWBIT_INLINE F16 set1(float v) { return _mm512_set1_ps(v); }
LOWBIT_INLINE F16 add(F16 a, F16 b) { return _mm512_add_ps(a, b); }
LOWBIT_INLINE F16 sub(F16 a, F16 b) { return _mm512_sub_ps(a, b); }
LOWBIT_INLINE F16 mul(F16 a, F16 b) { return _mm512_mul_ps(a, b); }
LOWBIT_INLINE F16 fma(F16 a, F16 b, F16 c) { return _mm512_fmadd_ps(a, b, c); }
// As the reference writes them: the limit where v is NaN.
LOWBIT_INLINE F16 at_least(F16 v, F16 limit) { return _mm512_max_ps(v, limit); }
LOWBIT_INLINE F16 at_most(F16 v, F16 limit) { return _mm512_min_ps(v, limit); }

// Pairs at distance Stage: a + b in the lower lane and a - b in the upper. The product with 1 or -1 is exact, so one
// fma rounds once, as the sum or difference does.
template <int Stage>
LOWBIT_INLINE F16 butterfly(F16 v) {
  constexpr unsigned kUpper = Stage == 1 ? 0xAAAA : Stage == 2 ? 0xCCCC : Stage == 4 ? 0xF0F0 : 0xFF00;
  F16 partner;
  if constexpr (Stage == 1) partner = _mm512_permute_ps(v, 0xB1);
  if constexpr (Stage == 2) partner = _mm512_permute_ps(v, 0x4E);
  if constexpr (Stage == 4) partner = _mm512_shuffle_f32x4(v, v, 0xB1);
  if constexpr (Stage == 8) partner = _mm512_shuffle_f32x4(v, v, 0x4E);
  const F16 sign = _mm512_mask_blend_ps(static_cast<__mmask16>(kUpper), _mm512_set1_ps(1.0f), _mm512_set1_ps(-1.0f));
  return _mm512_fmadd_ps(v, sign, partner);
}

LOWBIT_INLINE float sum_tree(F16 v) {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

LOWBIT_INLINE F16 from_bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
LOWBIT_INLINE F16 keep(F16 v, unsigned bits) { return _mm512_maskz_mov_ps(static_cast<__mmask16>(bits), v); }
LOWBIT_INLINE unsigned mask_of(F16 v, F16 threshold) {
  return _mm512_cmp_ps_mask(_mm512_abs_ps(v), threshold, _CMP_LE_OQ);
}

// count + 1 where v > edge.
LOWBIT_INLINE F16 count_above(F16 count, F16 v, F16 edge) {
  return _mm512_mask_add_ps(count, _mm512_cmp_ps_mask(v, edge, _CMP_GT_OQ), count, _mm512_set1_ps(1.0f));
}
LOWBIT_INLINE F16 size_of(F16 v) { return _mm512_abs_ps(v); }
// b where a is NaN.
LOWBIT_INLINE F16 largest_of(F16 a, F16 b) { return _mm512_max_ps(a, b); }
LOWBIT_INLINE float largest_lane(F16 v) { return _mm512_reduce_max_ps(v); }

// kE2m1Cells of 64 bytes below 48.
LOWBIT_INLINE __m512i e2m1_part(int at) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kE2m1Cells.code + at)));
}
LOWBIT_INLINE __m512i e2m1_codes(__m512i cell) {
  const __mmask64 bit4 = _mm512_test_epi8_mask(cell, _mm512_set1_epi8(16)),
                  bit5 = _mm512_test_epi8_mask(cell, _mm512_set1_epi8(32));
  const __m512i below = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(e2m1_part(0), cell), bit4, e2m1_part(16), cell);
  return _mm512_mask_shuffle_epi8(below, bit5, e2m1_part(32), cell);
}

using CodeSum = __m512i;
LOWBIT_INLINE CodeSum no_codes() { return _mm512_setzero_si512(); }
LOWBIT_INLINE std::int32_t total(CodeSum sum) { return static_cast<std::int32_t>(_mm512_reduce_add_epi64(sum)); }

// Stores the first `count` of 64 codes floor(cell) + offset, then zeros, and adds them to sum. Cells lie in [-128,
// 127]. E2m1: of the code that this cell has.
template <bool E2m1>
LOWBIT_INLINE void store_codes(const F16* cell, int offset, std::size_t count, std::uint8_t* out, CodeSum& sum) {
  constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const __m512i ab =
      _mm512_packs_epi32(_mm512_cvt_roundps_epi32(cell[0], kDown), _mm512_cvt_roundps_epi32(cell[1], kDown));
  const __m512i cd =
      _mm512_packs_epi32(_mm512_cvt_roundps_epi32(cell[2], kDown), _mm512_cvt_roundps_epi32(cell[3], kDown));
  // Packing works within 128-bit lanes: dword 4 * lane + b of the result belongs at 4 * b + lane.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i k = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(ab, cd));
  const __mmask64 valid = count == 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
  const __m512i cells = _mm512_add_epi8(k, _mm512_set1_epi8(static_cast<char>(offset)));
  const __m512i u = _mm512_maskz_mov_epi8(valid, E2m1 ? e2m1_codes(cells) : cells);
  _mm512_storeu_si512(out, u);
  sum = _mm512_add_epi64(sum, _mm512_sad_epu8(u, _mm512_setzero_si512()));
}

#include "lowbit/kernels/code_rows-inl.h"

}  // namespace

const RowForms kRowFormsAvx512{&code_row, &decode_row, &rotate_row};

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
