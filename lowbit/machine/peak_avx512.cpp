#include "lowbit/machine/peak_loops.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma")

namespace lowbit {
namespace {

constexpr int kAccumulators = 12;

long f32_loop(long iterations) {
  __m512 acc[kAccumulators];
  for (__m512& a : acc) a = _mm512_set1_ps(0.1f);
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.5f);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) acc[j] = _mm512_fmadd_ps(acc[j], x, y);
  }
  __m512 sum = acc[0];
  for (int j = 1; j < kAccumulators; ++j) sum = _mm512_add_ps(sum, acc[j]);
  volatile float sink = _mm512_cvtss_f32(sum);
  (void)sink;
  return iterations * kAccumulators * 16 * 2;
}

long bf16_loop(long iterations) {
  __m512 acc[kAccumulators];
  for (__m512& a : acc) a = _mm512_set1_ps(0.1f);
  const __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f00);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) acc[j] = _mm512_dpbf16_ps(acc[j], x, x);
  }
  __m512 sum = acc[0];
  for (int j = 1; j < kAccumulators; ++j) sum = _mm512_add_ps(sum, acc[j]);
  volatile float sink = _mm512_cvtss_f32(sum);
  (void)sink;
  return iterations * kAccumulators * 32 * 2;
}

long int8_loop(long iterations) {
  __m512i acc[kAccumulators];
  for (__m512i& a : acc) a = _mm512_setzero_si512();
  const __m512i x = _mm512_set1_epi8(3);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) acc[j] = _mm512_dpbusd_epi32(acc[j], x, x);
  }
  __m512i sum = acc[0];
  for (int j = 1; j < kAccumulators; ++j) sum = _mm512_xor_si512(sum, acc[j]);
  volatile int sink = _mm512_cvtsi512_si32(sum);
  (void)sink;
  return iterations * kAccumulators * 64 * 2;
}

}  // namespace

PeakLoops peak_loops_avx512(bool bf16) { return {f32_loop, bf16 ? bf16_loop : f32_loop, int8_loop}; }

}  // namespace lowbit
#pragma GCC pop_options
#else
namespace lowbit {
PeakLoops peak_loops_avx512(bool) { return peak_loops_scalar(); }
}  // namespace lowbit
#endif
