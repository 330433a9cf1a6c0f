#include "lowbit/kernels/backward_form.h"

#if defined(__x86_64__)
// GCC 12 takes the header's own undefined vectors for uninitialized variables of ours.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")

namespace lowbit::kernels {

#include "lowbit/kernels/backward_form-inl.h"
#include "lowbit/kernels/backward_lanes_avx512-inl.h"

namespace forms {
const BackwardForm avx512_f32 = Form<Avx512Lanes, WordKind::f32>::make("AVX-512 float32");
const BackwardForm avx512_bf16 = Form<Avx512Lanes, WordKind::rounded>::make("AVX-512 float32 on bfloat16 values");
}  // namespace forms
}  // namespace lowbit::kernels

#pragma GCC pop_options
#endif
