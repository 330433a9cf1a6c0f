#include "lowbit/machine/peak_loops.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx512vpopcntdq,fma")

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

long binary_loop(long iterations) {
  __m512i acc[kAccumulators];
  for (__m512i& a : acc) a = _mm512_setzero_si512();
  __m512i x = _mm512_set1_epi8(0x5A), w = _mm512_set1_epi8(0x36);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAccumulators; ++j) {
      asm volatile("" : "+v"(x));  // else the count is formed once
      acc[j] = _mm512_add_epi32(acc[j], _mm512_popcnt_epi32(_mm512_xor_si512(x, w)));
    }
  }
  __m512i sum = acc[0];
  for (int j = 1; j < kAccumulators; ++j) sum = _mm512_xor_si512(sum, acc[j]);
  volatile int sink = _mm512_cvtsi512_si32(sum);
  (void)sink;
  return iterations * kAccumulators * 512 * 2;
}

void read_loop(const std::byte* data, std::size_t bytes) {
  __m512i any[2 * kReadStreams] = {};
  const std::size_t stream = bytes / kReadStreams;
  for (std::size_t at = 0; at < stream; at += kReadBlock / kReadStreams) {
#pragma GCC unroll 4
    for (std::size_t s = 0; s < kReadStreams; ++s) {
      const std::byte* from = data + s * stream + at;
      any[2 * s] = _mm512_or_si512(any[2 * s], _mm512_load_si512(from));
      any[2 * s + 1] = _mm512_or_si512(any[2 * s + 1], _mm512_load_si512(from + 64));
    }
  }
  for (const __m512i& a : any) asm volatile("" ::"v"(a));
}

}  // namespace

PeakLoops peak_loops_avx512(bool bf16, bool vpopcntdq) {
  return {f32_loop, bf16 ? bf16_loop : f32_loop, int8_loop, vpopcntdq ? binary_loop : peak_loops_avx2().binary,
          read_loop};
}

}  // namespace lowbit
#pragma GCC pop_options
#else
namespace lowbit {
PeakLoops peak_loops_avx512(bool, bool) { return peak_loops_scalar(); }
}  // namespace lowbit
#endif
