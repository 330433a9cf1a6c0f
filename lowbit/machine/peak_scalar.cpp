#include <cstdint>
#include <cstring>

#include "lowbit/machine/bf16_unit.h"
#include "lowbit/machine/isa.h"
#include "lowbit/machine/peak_loops.h"

namespace lowbit {
namespace {

constexpr int kAccumulators = 8;

long f32_loop(long iterations) {
  float acc[kAccumulators] = {};
  for (long i = 0; i < iterations; ++i)
    for (float& a : acc) a = __builtin_fmaf(a, 0.999f, 0.5f);
  volatile float sink = acc[0] + acc[1] + acc[2] + acc[3] + acc[4] + acc[5] + acc[6] + acc[7];
  (void)sink;
  return iterations * kAccumulators * 2;
}

long int8_loop(long iterations) {
  std::uint32_t acc[kAccumulators] = {}, x = 3;
  for (long i = 0; i < iterations; ++i) {
    asm volatile("" : "+r"(x));  // else the compiler computes it once
    for (std::uint32_t& a : acc) a = a * x + x;
  }
  for (const std::uint32_t a : acc) asm volatile("" ::"r"(a));
  return iterations * kAccumulators * 2;
}

long binary_loop(long iterations) {
  std::uint64_t x = 0x5A5A5A5A5A5A5A5A, w = 0x3636363636363636, sum = 0;
  for (long i = 0; i < iterations; ++i) {
    asm volatile("" : "+r"(x));
    sum += static_cast<std::uint64_t>(__builtin_popcountll(x ^ w));
  }
  asm volatile("" ::"r"(sum));
  return iterations * 64 * 2;
}

void read_loop(const std::byte* data, std::size_t bytes) {
  std::uint64_t any[kReadStreams] = {};
  const std::size_t stream = bytes / kReadStreams;
  for (std::size_t at = 0; at < stream; at += 8)
    for (std::size_t s = 0; s < kReadStreams; ++s) {
      std::uint64_t word;
      std::memcpy(&word, data + s * stream + at, 8);
      any[s] |= word;
    }
  for (const std::uint64_t a : any) asm volatile("" ::"r"(a));
}

}  // namespace

PeakLoops peak_loops_scalar() { return {f32_loop, f32_loop, int8_loop, binary_loop, read_loop}; }

PeakLoops peak_loops() {
  const CpuFeatures& has = cpu_features();
  return active_isa() == Isa::avx512 ? peak_loops_avx512(bf16_unit_in_use(), has.avx512_vpopcntdq)
         : active_isa() == Isa::avx2 ? peak_loops_avx2()
                                     : peak_loops_scalar();
}

long clock_loop(long iterations) {
  std::uint64_t sum = 0, one = 1;
  // By a register: processors rename additions of small constants away. The statements keep their order and are not
  // merged.
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int j = 0; j < 32; ++j) {
      sum += one;
      asm volatile("" : "+r"(sum), "+r"(one));
    }
  }
  return iterations * 32;
}

}  // namespace lowbit
