#if defined(__x86_64__)
// GCC 12's own AVX-512 intrinsics begin from a register that is left undefined on purpose, and it warns of that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "lowbit/kernels/code_product_forms.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

// 6 rows by 4 panels: 24 sums of 32 registers, so that 24 vpdpbusd stand against 10 loads.
constexpr std::size_t kRows = 6;

LOWBIT_INLINE __m512i four_codes(const std::uint8_t* x) {
  std::int32_t codes;
  __builtin_memcpy(&codes, x, 4);
  return _mm512_set1_epi32(codes);
}

// sum += codes (unsigned) times weights (signed), four products a lane, modulo 2^32. In assembly because GCC 12 copies
// and stores each sum around the intrinsic once there are two dozen of them, at half the speed.
LOWBIT_INLINE void add_products(__m512i& sum, __m512i codes, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(weights));
}

template <int Rows, int Panels>
void rows_by_panels(const ProductTile& t, std::size_t row) {
  __m512i sum[Rows][Panels];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) sum[r][p] = _mm512_setzero_si512();
  const std::uint8_t* x = t.x + row * t.x_stride;
  const std::int8_t* w = t.w;
#pragma GCC unroll 1
  for (std::size_t q = 0; q < t.quads; ++q, x += 4, w += 64) {
    __m512i weights[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) weights[p] = _mm512_loadu_si512(w + static_cast<std::size_t>(p) * t.panel_bytes);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const __m512i codes = four_codes(x + static_cast<std::size_t>(r) * t.x_stride);
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) add_products(sum[r][p], codes, weights[p]);
    }
  }
  const __m128i shift = _mm_cvtsi32_si128(t.factors.shift);
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) {
    const std::size_t first = 16 * static_cast<std::size_t>(p);
    const __m512i of_w = _mm512_mullo_epi32(_mm512_loadu_si512(t.w_sum + first), _mm512_set1_epi32(t.factors.of_w));
    const __m512 scale = _mm512_loadu_ps(t.w_scale + first);
    const std::size_t left = t.outputs - first;
    const auto valid = static_cast<__mmask16>(left >= 16 ? 0xFFFFu : (1u << left) - 1);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const std::size_t m = row + static_cast<std::size_t>(r);
      const auto of_x = static_cast<std::uint32_t>(t.factors.of_x) * static_cast<std::uint32_t>(t.x_sum[m]);
      const __m512i same = _mm512_set1_epi32(static_cast<std::int32_t>(of_x + t.factors.constant));
      const __m512i s = _mm512_add_epi32(_mm512_sll_epi32(sum[r][p], shift), _mm512_add_epi32(of_w, same));
      const __m512 h = _mm512_mul_ps(_mm512_set1_ps(t.x_scale[m]), scale);
      _mm512_mask_storeu_ps(t.y + m * t.y_stride + first, valid, _mm512_mul_ps(_mm512_cvtepi32_ps(s), h));
    }
  }
}

template <int Panels>
void some_rows(const ProductTile& t, std::size_t row, std::size_t rows) {
  switch (rows) {
    case 1:
      return rows_by_panels<1, Panels>(t, row);
    case 2:
      return rows_by_panels<2, Panels>(t, row);
    case 3:
      return rows_by_panels<3, Panels>(t, row);
    case 4:
      return rows_by_panels<4, Panels>(t, row);
    case 5:
      return rows_by_panels<5, Panels>(t, row);
    default:
      return rows_by_panels<6, Panels>(t, row);
  }
}

}  // namespace

void product_tile_avx512(const ProductTile& t) {
  const std::size_t panels = (t.outputs + 15) / 16;
  // Rows in tiles of nearly equal height: 8 rows are 4 and 4, not 6 and 2.
  const std::size_t tiles = (t.rows + kRows - 1) / kRows;
  for (std::size_t i = 0; i < tiles; ++i) {
    const std::size_t row = t.rows * i / tiles, rows = t.rows * (i + 1) / tiles - row;
    switch (panels) {
      case 1:
        some_rows<1>(t, row, rows);
        break;
      case 2:
        some_rows<2>(t, row, rows);
        break;
      case 3:
        some_rows<3>(t, row, rows);
        break;
      default:
        some_rows<4>(t, row, rows);
        break;
    }
  }
}

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
