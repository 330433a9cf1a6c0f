#pragma once

namespace lowbit {

/// Runs so many iterations of a register-only loop; returns the operations done (a multiply and an add are two).
using PeakLoop = long (*)(long iterations);
struct PeakLoops {
  PeakLoop f32, bf16, int8;
};
PeakLoops peak_loops_scalar();
PeakLoops peak_loops_avx2();
PeakLoops peak_loops_avx512(bool bf16);

}  // namespace lowbit
