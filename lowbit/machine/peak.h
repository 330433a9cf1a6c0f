#pragma once
#include "lowbit/base/executor.h"

namespace lowbit {

/// Multiply-adds that this machine can do under the instruction set in use, measured: operations per second over all
/// threads of an executor, a multiply and an add being two.
struct Peaks {
  double f32 = 0;   ///< fma on float32 vectors
  double bf16 = 0;  ///< vdpbf16ps, or what stands in for it (widening and fma: the f32 rate)
  double int8 = 0;  ///< vpdpbusd, or what stands in for it (16-bit multiply-adds)
};

/// Register-only loops on every thread at once, best of several; takes about `seconds`. The machine may be shared, so
/// the best of the loops is what it could do, not what it will.
Peaks measure_peaks(Executor& executor, double seconds = 0.12);

}  // namespace lowbit
