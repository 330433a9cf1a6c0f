#if defined(__x86_64__)
#include <immintrin.h>

#include "lowbit/kernels/code_rows_forms.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

struct F16 {
  __m256 low, high;
};

LOWBIT_INLINE F16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
LOWBIT_INLINE void store(float* p, F16 v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}

// Sliding over it gives n ones, then zeros, as 32-bit lanes.
alignas(64) constexpr std::int32_t kOnesThenZeros[32] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                         -1, -1, -1, -1, -1, -1, -1, -1};
LOWBIT_INLINE __m256i lanes(std::size_t n, int half) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnesThenZeros + 16 - n + 8 * half));
}
LOWBIT_INLINE F16 load_first(const float* p, std::size_t n) {
  const __m256 low = _mm256_maskload_ps(p, lanes(n, 0));
  return {low, n > 8 ? _mm256_maskload_ps(p + 8, lanes(n, 1)) : _mm256_setzero_ps()};
}
LOWBIT_INLINE void store_first(float* p, F16 v, std::size_t n) {
  _mm256_maskstore_ps(p, lanes(n, 0), v.low);
  if (n > 8) _mm256_maskstore_ps(p + 8, lanes(n, 1), v.high);
}

LOWBIT_INLINE F16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
LOWBIT_INLINE F16 set1(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
LOWBIT_INLINE F16 add(F16 a, F16 b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
LOWBIT_INLINE F16 sub(F16 a, F16 b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
LOWBIT_INLINE F16 mul(F16 a, F16 b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
LOWBIT_INLINE F16 fma(F16 a, F16 b, F16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
// As the reference writes them: the limit where v is NaN.
LOWBIT_INLINE F16 at_least(F16 v, F16 limit) {
  return {_mm256_max_ps(v.low, limit.low), _mm256_max_ps(v.high, limit.high)};
}
LOWBIT_INLINE F16 at_most(F16 v, F16 limit) {
  return {_mm256_min_ps(v.low, limit.low), _mm256_min_ps(v.high, limit.high)};
}

// Pairs at distance Stage: a + b in the lower lane and a - b in the upper. The product with 1 or -1 is exact, so one
// fma rounds once, as the sum or difference does.
template <int Stage>
LOWBIT_INLINE __m256 butterfly_of_8(__m256 v) {
  if constexpr (Stage == 1)
    return _mm256_fmadd_ps(v, _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1), _mm256_permute_ps(v, 0xB1));
  else if constexpr (Stage == 2)
    return _mm256_fmadd_ps(v, _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1), _mm256_permute_ps(v, 0x4E));
  else
    return _mm256_fmadd_ps(v, _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1), _mm256_permute2f128_ps(v, v, 0x01));
}
template <int Stage>
LOWBIT_INLINE F16 butterfly(F16 v) {
  if constexpr (Stage == 8)
    return {_mm256_add_ps(v.low, v.high), _mm256_sub_ps(v.low, v.high)};
  else
    return {butterfly_of_8<Stage>(v.low), butterfly_of_8<Stage>(v.high)};
}

LOWBIT_INLINE float sum_tree(F16 v) {
  const __m256 a = _mm256_add_ps(v.low, v.high);
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

LOWBIT_INLINE F16 from_bytes(const std::uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}

LOWBIT_INLINE __m256 keep_of_8(__m256 v, unsigned bits) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), bit);
  return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bit)));
}
LOWBIT_INLINE F16 keep(F16 v, unsigned bits) { return {keep_of_8(v.low, bits), keep_of_8(v.high, bits >> 8)}; }

LOWBIT_INLINE unsigned mask_of_8(__m256 v, __m256 threshold) {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(magnitude, threshold, _CMP_LE_OQ)));
}
LOWBIT_INLINE unsigned mask_of(F16 v, F16 threshold) {
  return mask_of_8(v.low, threshold.low) | mask_of_8(v.high, threshold.high) << 8;
}

// count + 1 where v > edge.
LOWBIT_INLINE __m256 count_above_of_8(__m256 count, __m256 v, __m256 edge) {
  return _mm256_add_ps(count, _mm256_and_ps(_mm256_cmp_ps(v, edge, _CMP_GT_OQ), _mm256_set1_ps(1.0f)));
}
LOWBIT_INLINE F16 count_above(F16 count, F16 v, F16 edge) {
  return {count_above_of_8(count.low, v.low, edge.low), count_above_of_8(count.high, v.high, edge.high)};
}
LOWBIT_INLINE F16 size_of(F16 v) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, v.low), _mm256_andnot_ps(sign, v.high)};
}
// b where a is NaN.
LOWBIT_INLINE F16 largest_of(F16 a, F16 b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
LOWBIT_INLINE float largest_lane(F16 v) {
  const __m256 eight = _mm256_max_ps(v.low, v.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// kE2m1Cells of 32 bytes below 48.
LOWBIT_INLINE __m256i e2m1_part(int at, __m256i cell) {
  const auto* from = reinterpret_cast<const __m128i*>(kE2m1Cells.code + at);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(from)), cell);
}
LOWBIT_INLINE __m256i e2m1_codes(__m256i cell) {
  // The blends look at the top bit of each byte: bits 4 and 5 of the cell, shifted there.
  const __m256i middle = _mm256_blendv_epi8(e2m1_part(0, cell), e2m1_part(16, cell), _mm256_slli_epi16(cell, 3));
  return _mm256_blendv_epi8(middle, e2m1_part(32, cell), _mm256_slli_epi16(cell, 2));
}

using CodeSum = __m256i;
LOWBIT_INLINE CodeSum no_codes() { return _mm256_setzero_si256(); }
LOWBIT_INLINE std::int32_t total(CodeSum sum) {
  const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return static_cast<std::int32_t>(_mm_cvtsi128_si64(pair) + _mm_extract_epi64(pair, 1));
}

alignas(64) constexpr std::int8_t kOnesThenZeroBytes[128] = {
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

LOWBIT_INLINE __m256i floor_of_8(__m256 v) { return _mm256_cvttps_epi32(_mm256_floor_ps(v)); }
LOWBIT_INLINE __m256i words(F16 v) { return _mm256_packs_epi32(floor_of_8(v.low), floor_of_8(v.high)); }

// Stores the first `count` of 64 codes floor(cell) + offset, then zeros, and adds them to sum. Cells lie in [-128,
// 127]. E2m1: of the code that this cell has.
template <bool E2m1>
LOWBIT_INLINE void store_codes(const F16* cell, int offset, std::size_t count, std::uint8_t* out, CodeSum& sum) {
  // Packing works within 128-bit lanes: dword 4 * lane + b of the result belongs at 2 * b + lane.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m256i packed = _mm256_packs_epi16(words(cell[2 * half]), words(cell[2 * half + 1]));
    __m256i u =
        _mm256_add_epi8(_mm256_permutevar8x32_epi32(packed, order), _mm256_set1_epi8(static_cast<char>(offset)));
    if constexpr (E2m1) u = e2m1_codes(u);
    u = _mm256_and_si256(
        u, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnesThenZeroBytes + 64 - count + 32 * half)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32 * half), u);
    sum = _mm256_add_epi64(sum, _mm256_sad_epu8(u, _mm256_setzero_si256()));
  }
}

#include "lowbit/kernels/code_rows-inl.h"

}  // namespace

const RowForms kRowFormsAvx2{&code_row, &decode_row, &rotate_row};

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
