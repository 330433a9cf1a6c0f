#include "lowbit/kernels/offset_rows.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")

#include "lowbit/kernels/offset_rows-inl.h"

namespace lowbit::kernels::forms {
const OffsetForms offset_avx2{&step_row, &adabin_row, &add_scaled, &dot};
}

#pragma GCC pop_options
#endif
