#include "lowbit/kernels/backward_int8_form.h"

namespace lowbit::kernels {

#include "lowbit/kernels/backward_int8-inl.h"

namespace {

void product(const Int8Block& t) {
  for (std::size_t i = 0; i < t.rows; ++i) {
    const std::int8_t* const a =
        t.by_rows ? t.a + i * kGradientBlock : t.a + i / 16 * t.a_panel_bytes + i % 16 * 4;
    const std::size_t a_step = t.by_rows ? 4 : 64;
    for (std::size_t j = 0; j < t.columns; j += kInt8Columns) {
      std::int32_t sum[kInt8Columns] = {};
      const std::uint8_t* b = t.b + j / kInt8Columns * t.b_panel_bytes;
      for (std::size_t q = 0; q < t.quads; ++q, b += 64)
        for (std::size_t v = 0; v < kInt8Columns; ++v)
          for (std::size_t x = 0; x < 4; ++x) sum[v] += a[q * a_step + x] * b[4 * v + x];
      float* const c = t.c + i * t.c_stride + j;
      for (std::size_t v = 0; v < kInt8Columns && j + v < t.columns; ++v) {
        const auto s = static_cast<float>(sum[v] * (1 << t.shift) + t.offset * t.sum[i]);
        c[v] = t.overwrite ? s * t.scale[i] : __builtin_fmaf(s, t.scale[i], c[v]);
      }
    }
  }
}

}  // namespace

namespace forms {
const Int8Form plain_int8{"plain", &code_rows_plain, &code_columns_plain, &pack_codes_plain, &product};
}  // namespace forms
}  // namespace lowbit::kernels
