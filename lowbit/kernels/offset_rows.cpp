#include "lowbit/kernels/offset_rows.h"

#include "lowbit/kernels/offset_rows-inl.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {

namespace forms {
const OffsetForms offset_plain{&step_row, &adabin_row, &add_scaled, &dot};
}

const OffsetForms& offset_forms() {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return forms::offset_avx512;
    case Isa::avx2:
      return forms::offset_avx2;
    case Isa::scalar:
      break;
  }
#endif
  return forms::offset_plain;
}

}  // namespace lowbit::kernels
