#pragma once
// What the vector files of this folder are compiled for: Highway's AVX2 and AVX3 (AVX-512 F BW DQ VL), each in its own
// namespace, whose functions alone may use wide instructions. Include this first. Highway's AVX3_DL is left out: it
// lets the compiler emit instructions that its own test of the processor does not ask for.
#if defined(__x86_64__)
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#else
#define HWY_COMPILE_ONLY_STATIC  // one pass over each file, whose vector code is skipped
#endif

// The baseline is also a Highway target; the scalar form stands in for it, so vector code is skipped there.
#define LOWBIT_VECTOR_TARGET (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3)

// LOWBIT_PICK(f): the f of this processor, or of the instruction set that is forced, out of N_AVX3::f, N_AVX2::f and
// scalar::f, which have one signature. Asked anew at every call.
#if defined(__x86_64__)
#define LOWBIT_PICK(function)                            \
  (::lowbit::active_isa() == ::lowbit::Isa::avx512 ? &N_AVX3::function  \
   : ::lowbit::active_isa() == ::lowbit::Isa::avx2 ? &N_AVX2::function  \
                                                   : &scalar::function)
#else
#define LOWBIT_PICK(function) (&scalar::function)
#endif
