#pragma once
#include <cstddef>

namespace lowbit {

/// Runs so many iterations of a register-only loop; returns the operations done (a multiply and an add are two; for
/// binary an xor of two bits and the addition of what it gave).
using PeakLoop = long (*)(long iterations);
/// Reads `bytes` (a multiple of kReadBlock) from a 64-byte boundary on, as kReadStreams streams side by side.
using ReadLoop = void (*)(const std::byte* data, std::size_t bytes);
inline constexpr std::size_t kReadStreams = 4, kReadBlock = 512;

struct PeakLoops {
  PeakLoop f32, bf16, int8, binary;
  ReadLoop read;
};
PeakLoops peak_loops_scalar();
PeakLoops peak_loops_avx2();
/// bf16, vpopcntdq   whether those instructions are used; else what stands in for them.
PeakLoops peak_loops_avx512(bool bf16, bool vpopcntdq);
/// Of the instruction set in use.
PeakLoops peak_loops();

/// Additions each of which waits for the one before it: one a cycle on every processor we know. Returns their number.
long clock_loop(long iterations);

}  // namespace lowbit
