#include "lowbit/kernels/backward_form.h"

#if defined(__x86_64__)
// GCC 12 takes the header's own undefined vectors for uninitialized variables of ours.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi2")

namespace lowbit::kernels {

#include "lowbit/kernels/backward_lanes_avx512-inl.h"

namespace {

struct Avx512Bf16Lanes : Avx512Lanes {
  LOWBIT_LANE __m512i convert(V low, V high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)); }
  LOWBIT_LANE V join_neighbours(V first16, V next16) { return _mm512_castsi512_ps(convert(first16, next16)); }
  LOWBIT_LANE V join(V even, V odd) {
    const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                                6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(interleave, convert(even, odd)));
  }
  LOWBIT_LANE V dot(V sum, V a, V b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

}  // namespace

#include "lowbit/kernels/backward_form-inl.h"

namespace forms {
const BackwardForm avx512_bf16_native = Form<Avx512Bf16Lanes, WordKind::pairs>::make("AVX-512 bfloat16");
}  // namespace forms
}  // namespace lowbit::kernels

#pragma GCC pop_options
#endif
