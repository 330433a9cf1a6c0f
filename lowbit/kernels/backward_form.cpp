#include "lowbit/kernels/backward_form.h"

#include <cassert>

#include "lowbit/machine/bf16_unit.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {

const BackwardForm& backward_form(Precision precision) {
  assert(precision != Precision::int8);
  const bool f32 = precision == Precision::f32;
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      if (f32) return forms::avx512_f32;
      return bf16_unit_in_use() ? forms::avx512_bf16_native : forms::avx512_bf16;
    case Isa::avx2:
      return f32 ? forms::avx2_f32 : forms::avx2_bf16;
    case Isa::scalar:
      break;
  }
#endif
  return f32 ? forms::plain_f32 : forms::plain_bf16;
}

}  // namespace lowbit::kernels
