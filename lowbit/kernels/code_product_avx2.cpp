#if defined(__x86_64__)
#include <immintrin.h>

#include "lowbit/kernels/code_product_forms.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

// 4 rows by one panel (two registers wide): 8 sums of 16 registers.
constexpr std::size_t kRows = 4;

LOWBIT_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

LOWBIT_INLINE __m256i four_codes(const std::uint8_t* x) {
  std::int32_t codes;
  __builtin_memcpy(&codes, x, 4);
  return _mm256_set1_epi32(codes);
}

// 8 by 8 bits: the sum of two products can leave 16 bits, so bytes are widened: even ones and odd ones each as 16-bit
// words, whose products vpmaddwd adds in 32 bits.
template <int Rows>
LOWBIT_INLINE void sum_widened(const std::uint8_t* x, std::size_t x_stride, const std::int8_t* w, std::size_t quads,
                               __m256i (&sum)[Rows][2]) {
  const __m256i low_byte = _mm256_set1_epi16(0xFF);
#pragma GCC unroll 1
  for (std::size_t q = 0; q < quads; ++q, x += 4, w += 64) {
    const __m256i w0 = load(w), w1 = load(w + 32);
    const __m256i even0 = _mm256_srai_epi16(_mm256_slli_epi16(w0, 8), 8), odd0 = _mm256_srai_epi16(w0, 8);
    const __m256i even1 = _mm256_srai_epi16(_mm256_slli_epi16(w1, 8), 8), odd1 = _mm256_srai_epi16(w1, 8);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const __m256i codes = four_codes(x + static_cast<std::size_t>(r) * x_stride);
      const __m256i even = _mm256_and_si256(codes, low_byte), odd = _mm256_srli_epi16(codes, 8);
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(even, even0));
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(odd, odd0));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(even, even1));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(odd, odd1));
    }
  }
}

// Other pairs: `steps` sums of two products fit 16 bits and are added there before they are widened.
template <int Rows>
LOWBIT_INLINE void sum_in_16_bits(const std::uint8_t* x, std::size_t x_stride, const std::int8_t* w, std::size_t quads,
                                  std::size_t steps, __m256i (&sum)[Rows][2]) {
  const __m256i ones = _mm256_set1_epi16(1);
  while (quads > 0) {
    const std::size_t count = quads < steps ? quads : steps;
    quads -= count;
    __m256i part[Rows][2];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) part[r][0] = part[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (std::size_t q = 0; q < count; ++q, x += 4, w += 64) {
      const __m256i w0 = load(w), w1 = load(w + 32);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        const __m256i codes = four_codes(x + static_cast<std::size_t>(r) * x_stride);
        part[r][0] = _mm256_add_epi16(part[r][0], _mm256_maddubs_epi16(codes, w0));
        part[r][1] = _mm256_add_epi16(part[r][1], _mm256_maddubs_epi16(codes, w1));
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
      for (int half = 0; half < 2; ++half)
        sum[r][half] = _mm256_add_epi32(sum[r][half], _mm256_madd_epi16(part[r][half], ones));
  }
}

// The same where few sums or one fit: widened at once.
template <int Rows>
LOWBIT_INLINE void sum_at_once(const std::uint8_t* x, std::size_t x_stride, const std::int8_t* w, std::size_t quads,
                               __m256i (&sum)[Rows][2]) {
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 1
  for (std::size_t q = 0; q < quads; ++q, x += 4, w += 64) {
    const __m256i w0 = load(w), w1 = load(w + 32);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const __m256i codes = four_codes(x + static_cast<std::size_t>(r) * x_stride);
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(_mm256_maddubs_epi16(codes, w0), ones));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(_mm256_maddubs_epi16(codes, w1), ones));
    }
  }
}

template <int Rows>
void rows_by_panel(const ProductTile& t, std::size_t row, std::size_t panel) {
  const std::uint8_t* x = t.x + row * t.x_stride;
  const std::int8_t* w = t.w + panel * t.panel_bytes;
  __m256i sum[Rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  const int steps = t.factors.steps_in_16_bits;
  if (steps == 0)
    sum_widened<Rows>(x, t.x_stride, w, t.quads, sum);
  else if (steps < 4)
    sum_at_once<Rows>(x, t.x_stride, w, t.quads, sum);
  else
    sum_in_16_bits<Rows>(x, t.x_stride, w, t.quads, static_cast<std::size_t>(steps), sum);

  const __m128i shift = _mm_cvtsi32_si128(t.factors.shift);
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t first = 16 * panel + 8 * half;
    if (first >= t.outputs) break;
    const __m256i of_w = _mm256_mullo_epi32(load(t.w_sum + first), _mm256_set1_epi32(t.factors.of_w));
    const __m256 scale = _mm256_loadu_ps(t.w_scale + first);
    const std::size_t left = t.outputs - first;
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const std::size_t m = row + static_cast<std::size_t>(r);
      const auto of_x = static_cast<std::uint32_t>(t.factors.of_x) * static_cast<std::uint32_t>(t.x_sum[m]);
      const __m256i same = _mm256_set1_epi32(static_cast<std::int32_t>(of_x + t.factors.constant));
      const __m256i s = _mm256_add_epi32(_mm256_sll_epi32(sum[r][half], shift), _mm256_add_epi32(of_w, same));
      const __m256 h = _mm256_mul_ps(_mm256_set1_ps(t.x_scale[m]), scale);
      const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(s), h);
      float* out = t.y + m * t.y_stride + first;
      if (left >= 8) {
        _mm256_storeu_ps(out, y);
      } else {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_maskstore_ps(out, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), lane), y);
      }
    }
  }
}

}  // namespace

void product_tile_avx2(const ProductTile& t) {
  const std::size_t panels = (t.outputs + 15) / 16;
  // Rows in tiles of nearly equal height: 5 rows are 3 and 2, not 4 and 1.
  const std::size_t tiles = (t.rows + kRows - 1) / kRows;
  for (std::size_t panel = 0; panel < panels; ++panel) {
    for (std::size_t i = 0; i < tiles; ++i) {
      const std::size_t row = t.rows * i / tiles;
      switch (t.rows * (i + 1) / tiles - row) {
        case 1:
          rows_by_panel<1>(t, row, panel);
          break;
        case 2:
          rows_by_panel<2>(t, row, panel);
          break;
        case 3:
          rows_by_panel<3>(t, row, panel);
          break;
        default:
          rows_by_panel<4>(t, row, panel);
          break;
      }
    }
  }
}

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
