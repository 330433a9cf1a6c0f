// Sixteen lanes of AVX-512, for backward_avx512.cpp and backward_avx512_bf16.cpp. Included after `#pragma GCC target`,
// so this file includes nothing.
namespace {

#define LOWBIT_LANE static inline __attribute__((always_inline))

struct Avx512Lanes {
  // 24 sums, 2 columns and a broadcast row leave 5 of the 32 registers; 14 loads for 24 multiply-adds.
  static constexpr std::size_t kLanes = 16, kTileRows = 12, kTileVectors = 2;
  using V = __m512;

  LOWBIT_LANE __mmask16 mask(std::size_t n) {
    return n < kLanes ? static_cast<__mmask16>((1u << n) - 1) : static_cast<__mmask16>(0xffff);
  }
  LOWBIT_LANE V zero() { return _mm512_setzero_ps(); }
  LOWBIT_LANE V set(float value) { return _mm512_set1_ps(value); }
  LOWBIT_LANE V load(const void* from) { return _mm512_loadu_ps(from); }
  LOWBIT_LANE V load_part(const float* from, std::size_t n) { return _mm512_maskz_loadu_ps(mask(n), from); }
  LOWBIT_LANE void store(void* to, V v) { _mm512_storeu_ps(to, v); }
  LOWBIT_LANE void stream(float* to, V v) { _mm512_stream_ps(to, v); }
  LOWBIT_LANE void fence() { _mm_sfence(); }
  LOWBIT_LANE void store_part(float* to, V v, std::size_t n) { _mm512_mask_storeu_ps(to, mask(n), v); }
  LOWBIT_LANE V add(V a, V b) { return _mm512_add_ps(a, b); }
  LOWBIT_LANE V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  LOWBIT_LANE V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  LOWBIT_LANE V divide(V a, V b) { return _mm512_div_ps(a, b); }
  LOWBIT_LANE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  LOWBIT_LANE float sum(V v) { return _mm512_reduce_add_ps(v); }
  /// base/math.h's polynomial; scalef makes 0 and infinity of what is out of range. Clamped so that k is exact in use.
  LOWBIT_LANE V exp(V v) {
    const V x = _mm512_min_ps(set(130.0f), _mm512_max_ps(set(-130.0f), v));
    const V k =
        _mm512_roundscale_ps(_mm512_mul_ps(x, set(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const V r = _mm512_fnmadd_ps(k, set(0x1.7f7d1cp-20f), _mm512_fnmadd_ps(k, set(0x1.62e400p-1f), x));
    V p = set(0x1.a01a02p-13f);
    p = _mm512_fmadd_ps(p, r, set(0x1.6c16c2p-10f));
    p = _mm512_fmadd_ps(p, r, set(0x1.111112p-7f));
    p = _mm512_fmadd_ps(p, r, set(0x1.555556p-5f));
    p = _mm512_fmadd_ps(p, r, set(0x1.555556p-3f));
    p = _mm512_fmadd_ps(p, r, set(0.5f));
    p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(p, r), r, r), set(1.0f));
    return _mm512_scalef_ps(p, k);
  }
  LOWBIT_LANE V codes(const std::uint8_t* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
  LOWBIT_LANE V codes_part(const std::uint8_t* from, std::size_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask(n), from)));
  }
  LOWBIT_LANE V first(V v, std::size_t n) { return _mm512_maskz_mov_ps(mask(n), v); }
  /// Nearest bfloat16, ties to even, a NaN as it is.
  LOWBIT_LANE V round(V v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
    const V rounded = _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(-65536)));
    return _mm512_mask_mov_ps(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v);
  }
  LOWBIT_LANE void transpose(V* rows) {
    V pairs[16], quads[16], halves[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    // quads[i + j]: column 4 * lane group + j of rows i .. i + 3.
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        quads[i + 2 * j] = _mm512_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
        quads[i + 2 * j + 1] = _mm512_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xee);
      }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      halves[j] = _mm512_shuffle_f32x4(quads[j], quads[4 + j], 0x88);           // columns j, 8 + j of rows 0 .. 7
      halves[4 + j] = _mm512_shuffle_f32x4(quads[j], quads[4 + j], 0xdd);       // columns 4 + j, 12 + j
      halves[8 + j] = _mm512_shuffle_f32x4(quads[8 + j], quads[12 + j], 0x88);  // the same of rows 8 .. 15
      halves[12 + j] = _mm512_shuffle_f32x4(quads[8 + j], quads[12 + j], 0xdd);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      rows[j] = _mm512_shuffle_f32x4(halves[j], halves[8 + j], 0x88);
      rows[8 + j] = _mm512_shuffle_f32x4(halves[j], halves[8 + j], 0xdd);
    }
  }
  LOWBIT_LANE void prefetch(const float* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); }
  LOWBIT_LANE V broadcast_word(const Word* from) { return _mm512_set1_ps(*reinterpret_cast<const float*>(from)); }
  LOWBIT_LANE V dot(V sum, V a, V b) { return _mm512_fmadd_ps(a, b, sum); }

  static double sum_of_squares(std::size_t n, const float* x) {
    __m512d sum[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    for (std::size_t i = 0; i < n; i += kLanes) {
      const V v = load_part(x + i, n - i);
      const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v)),
                    high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
      sum[0] = _mm512_fmadd_pd(low, low, sum[0]);
      sum[1] = _mm512_fmadd_pd(high, high, sum[1]);
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(sum[0], sum[1]));
  }
};

}  // namespace
