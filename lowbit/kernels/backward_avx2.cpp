#include "lowbit/kernels/backward_form.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")

namespace lowbit::kernels {
namespace {

#define LOWBIT_LANE static inline __attribute__((always_inline))

struct Avx2Lanes {
  static constexpr std::size_t kLanes = 8, kTileRows = 6, kTileVectors = 2;
  using V = __m256;

  LOWBIT_LANE __m256i mask(std::size_t n) {
    const int count = n < kLanes ? static_cast<int>(n) : static_cast<int>(kLanes);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  LOWBIT_LANE V zero() { return _mm256_setzero_ps(); }
  LOWBIT_LANE V set(float value) { return _mm256_set1_ps(value); }
  LOWBIT_LANE V load(const void* from) { return _mm256_loadu_ps(static_cast<const float*>(from)); }
  LOWBIT_LANE V load_part(const float* from, std::size_t n) { return _mm256_maskload_ps(from, mask(n)); }
  LOWBIT_LANE void store(void* to, V v) { _mm256_storeu_ps(static_cast<float*>(to), v); }
  LOWBIT_LANE void stream(float* to, V v) { _mm256_stream_ps(to, v); }
  LOWBIT_LANE void fence() { _mm_sfence(); }
  LOWBIT_LANE void store_part(float* to, V v, std::size_t n) { _mm256_maskstore_ps(to, mask(n), v); }
  LOWBIT_LANE V add(V a, V b) { return _mm256_add_ps(a, b); }
  LOWBIT_LANE V sub(V a, V b) { return _mm256_sub_ps(a, b); }
  LOWBIT_LANE V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  LOWBIT_LANE V divide(V a, V b) { return _mm256_div_ps(a, b); }
  LOWBIT_LANE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  LOWBIT_LANE float sum(V v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  /// base/math.h's polynomial. Clamped so that the exponent fits; max and min keep a NaN in their second operand.
  LOWBIT_LANE V exp(V v) {
    const V x = _mm256_min_ps(set(88.0f), _mm256_max_ps(set(-87.3f), v));
    const V k = _mm256_round_ps(_mm256_mul_ps(x, set(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const V r = _mm256_fnmadd_ps(k, set(0x1.7f7d1cp-20f), _mm256_fnmadd_ps(k, set(0x1.62e400p-1f), x));
    V p = set(0x1.a01a02p-13f);
    p = _mm256_fmadd_ps(p, r, set(0x1.6c16c2p-10f));
    p = _mm256_fmadd_ps(p, r, set(0x1.111112p-7f));
    p = _mm256_fmadd_ps(p, r, set(0x1.555556p-5f));
    p = _mm256_fmadd_ps(p, r, set(0x1.555556p-3f));
    p = _mm256_fmadd_ps(p, r, set(0.5f));
    p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(p, r), r, r), set(1.0f));
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(k), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  }
  LOWBIT_LANE V codes(const std::uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  LOWBIT_LANE V codes_part(const std::uint8_t* from, std::size_t n) {
    std::uint64_t bytes = 0;
    __builtin_memcpy(&bytes, from, n < kLanes ? n : kLanes);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes))));
  }
  LOWBIT_LANE V first(V v, std::size_t n) { return _mm256_and_ps(v, _mm256_castsi256_ps(mask(n))); }
  /// Nearest bfloat16, ties to even, a NaN as it is.
  LOWBIT_LANE V round(V v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
    const V rounded = _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(-65536)));
    return _mm256_blendv_ps(rounded, v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  }
  LOWBIT_LANE void transpose(V* rows) {
    V pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
      pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
      for (int j = 0; j < 2; ++j) {
        quads[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
        quads[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xee);
      }
    for (int i = 0; i < 4; ++i) {
      rows[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
      rows[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
  }
  LOWBIT_LANE void prefetch(const float* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); }
  LOWBIT_LANE V broadcast_word(const Word* from) { return _mm256_broadcast_ss(reinterpret_cast<const float*>(from)); }
  LOWBIT_LANE V dot(V sum, V a, V b) { return _mm256_fmadd_ps(a, b, sum); }

  static double sum_of_squares(std::size_t n, const float* x) {
    __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    for (std::size_t i = 0; i < n; i += kLanes) {
      const V v = load_part(x + i, n - i);
      const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                    high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
      sum[0] = _mm256_fmadd_pd(low, low, sum[0]);
      sum[1] = _mm256_fmadd_pd(high, high, sum[1]);
    }
    double part[4];
    _mm256_storeu_pd(part, _mm256_add_pd(sum[0], sum[1]));
    return (part[0] + part[1]) + (part[2] + part[3]);
  }
};

}  // namespace

#include "lowbit/kernels/backward_form-inl.h"

namespace forms {
const BackwardForm avx2_f32 = Form<Avx2Lanes, WordKind::f32>::make("AVX2 float32");
const BackwardForm avx2_bf16 = Form<Avx2Lanes, WordKind::rounded>::make("AVX2 float32 on bfloat16 values");
}  // namespace forms
}  // namespace lowbit::kernels

#pragma GCC pop_options
#endif
