#include "lowbit/machine/peak_loops.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")

namespace lowbit {
namespace {

// Twelve accumulators hide the latency of any multiply-add of these processors (4 to 5 cycles, two a cycle).
constexpr int kAccumulators = 12;

long f32_loop(long iterations) {
  __m256 acc[kAccumulators];
  for (__m256& a : acc) a = _mm256_set1_ps(0.1f);
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.5f);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) acc[j] = _mm256_fmadd_ps(acc[j], x, y);
  }
  __m256 sum = acc[0];
  for (int j = 1; j < kAccumulators; ++j) sum = _mm256_add_ps(sum, acc[j]);
  volatile float sink = _mm256_cvtss_f32(sum);
  (void)sink;
  return iterations * kAccumulators * 8 * 2;
}

long int8_loop(long iterations) {
  __m256i acc[kAccumulators];
  for (__m256i& a : acc) a = _mm256_setzero_si256();
  const __m256i x = _mm256_set1_epi16(3);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) acc[j] = _mm256_add_epi32(acc[j], _mm256_madd_epi16(acc[j], x));
  }
  __m256i sum = acc[0];
  for (int j = 1; j < kAccumulators; ++j) sum = _mm256_xor_si256(sum, acc[j]);
  volatile int sink = _mm256_extract_epi32(sum, 0);
  (void)sink;
  return iterations * kAccumulators * 16 * 2;
}

}  // namespace

PeakLoops peak_loops_avx2() { return {f32_loop, f32_loop, int8_loop}; }

}  // namespace lowbit
#pragma GCC pop_options
#else
namespace lowbit {
PeakLoops peak_loops_avx2() { return peak_loops_scalar(); }
}  // namespace lowbit
#endif
