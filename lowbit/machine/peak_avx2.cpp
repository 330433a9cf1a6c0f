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

// What a product of codes costs at best: two products added in 16 bits, and the sum added in 16 bits. Additions alone
// wait for one another, so few sums do, and registers suffice.
long int8_loop(long iterations) {
  constexpr int kSums = 8;
  __m256i acc[kSums] = {};
  __m256i x = _mm256_set1_epi8(3);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kSums; ++j) {
      __m256i product;
      asm volatile("vpmaddubsw %2, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(acc[j]), "=&x"(product) : "x"(x));
    }
  }
  for (const __m256i& sum : acc) asm volatile("" ::"x"(sum));
  return iterations * kSums * 32 * 2;
}

// Bits counted by looking up half bytes, byte sums widened every eighth time.
long binary_loop(long iterations) {
  constexpr int kSums = 4, kBeforeWidening = 8;
  const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low_half = _mm256_set1_epi8(15);
  __m256i wide[kSums] = {};
  __m256i x = _mm256_set1_epi8(0x5A), w = _mm256_set1_epi8(0x36);
  for (long i = 0; i < iterations; ++i) {
    __m256i sum[kSums] = {};
#pragma GCC unroll 8
    for (int step = 0; step < kBeforeWidening; ++step) {
#pragma GCC unroll 4
      for (int j = 0; j < kSums; ++j) {
        asm volatile("" : "+x"(x));
        const __m256i bits = _mm256_xor_si256(x, w);
        const __m256i low = _mm256_and_si256(bits, low_half);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bits, 4), low_half);
        const __m256i count = _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
        sum[j] = _mm256_add_epi8(sum[j], count);
      }
    }
    for (int j = 0; j < kSums; ++j)
      wide[j] = _mm256_add_epi64(wide[j], _mm256_sad_epu8(sum[j], _mm256_setzero_si256()));
  }
  for (const __m256i& sum : wide) asm volatile("" ::"x"(sum));
  return iterations * kBeforeWidening * kSums * 256 * 2;
}

void read_loop(const std::byte* data, std::size_t bytes) {
  __m256i any[2 * kReadStreams] = {};
  const std::size_t stream = bytes / kReadStreams;
  for (std::size_t at = 0; at < stream; at += kReadBlock / kReadStreams) {
#pragma GCC unroll 4
    for (std::size_t s = 0; s < kReadStreams; ++s) {
      const auto* from = reinterpret_cast<const __m256i*>(data + s * stream + at);
      any[2 * s] = _mm256_or_si256(any[2 * s], _mm256_load_si256(from));
      any[2 * s + 1] = _mm256_or_si256(any[2 * s + 1], _mm256_load_si256(from + 1));
      any[2 * s] = _mm256_or_si256(any[2 * s], _mm256_load_si256(from + 2));
      any[2 * s + 1] = _mm256_or_si256(any[2 * s + 1], _mm256_load_si256(from + 3));
    }
  }
  for (const __m256i& a : any) asm volatile("" ::"x"(a));
}

}  // namespace

PeakLoops peak_loops_avx2() { return {f32_loop, f32_loop, int8_loop, binary_loop, read_loop}; }

}  // namespace lowbit
#pragma GCC pop_options
#else
namespace lowbit {
PeakLoops peak_loops_avx2() { return peak_loops_scalar(); }
}  // namespace lowbit
#endif
