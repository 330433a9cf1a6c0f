#if defined(__x86_64__)
#include <immintrin.h>

#include "lowbit/kernels/plane_product_forms.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

// 4 rows by one panel (two registers wide): 8 sums of 16 registers.
constexpr std::size_t kRows = 4;
// A block adds at most 8 to each byte, so 31 of them fit.
constexpr std::size_t kBlocksInBytes = 31;

LOWBIT_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

void plane_row(const PlaneRowJob& job) {
  // Byte 8 j + i from byte 4 i + j: first within 16 bytes, then dwords of the two halves.
  const __m256i within =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m256i across = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  // Ternary codes 0, 1, 2 become 0, 1, 3, whose bits are their planes.
  const __m256i bits = _mm256_broadcastsi128_si256(
      job.ternary ? _mm_setr_epi8(0, 1, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
                  : _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  for (std::size_t block = 0; block < job.blocks; ++block) {
    const __m256i u = _mm256_shuffle_epi8(bits, load(job.codes + 32 * block));
    const __m256i ordered = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(u, within), across);
    for (int plane = 0; plane < job.planes; ++plane) {
      // Bit `plane` of each byte becomes its sign; what moves across bytes stays below it, since codes have 4 bits.
      const __m256i signs = _mm256_sll_epi16(ordered, _mm_cvtsi32_si128(7 - plane));
      job.out[static_cast<std::size_t>(plane) * job.blocks + block] =
          static_cast<std::uint32_t>(_mm256_movemask_epi8(signs));
    }
  }
}

// Counts of bits by a look-up of nibbles, added as bytes.
LOWBIT_INLINE __m256i add_counts(__m256i bytes, __m256i d, __m256i of_nibble, __m256i low) {
  bytes = _mm256_add_epi8(bytes, _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(d, low)));
  return _mm256_add_epi8(bytes, _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(_mm256_srli_epi16(d, 4), low)));
}

template <int Rows>
void rows_by_panel(const PlaneTile& t, std::size_t row, std::size_t panel) {
  const __m256i of_nibble =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low = _mm256_set1_epi8(15);
  __m256i sum[Rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  const std::size_t step = 16 * t.w_planes;
#pragma GCC unroll 1
  for (std::size_t i = 0; i < t.pass_count; ++i) {
    const PlanePass pass = t.passes[i];
    if (pass.doubled) {
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
        for (int half = 0; half < 2; ++half) sum[r][half] = _mm256_add_epi32(sum[r][half], sum[r][half]);
    }
    const std::uint32_t* x = t.x + row * t.x_stride + pass.x * t.x_plane;
    const std::uint32_t* w = t.w + panel * t.panel_dwords + std::size_t{16} * pass.w;
    std::size_t blocks = t.blocks;
#pragma GCC unroll 1
    while (blocks > 0) {
      const std::size_t count = blocks < kBlocksInBytes ? blocks : kBlocksInBytes;
      blocks -= count;
      __m256i bytes[Rows][2];
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) bytes[r][0] = bytes[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 1
      for (std::size_t block = 0; block < count; ++block, ++x, w += step) {
        const __m256i w0 = load(w), w1 = load(w + 8);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
          const __m256i bits = _mm256_set1_epi32(static_cast<int>(x[static_cast<std::size_t>(r) * t.x_stride]));
          bytes[r][0] = add_counts(bytes[r][0], _mm256_xor_si256(bits, w0), of_nibble, low);
          bytes[r][1] = add_counts(bytes[r][1], _mm256_xor_si256(bits, w1), of_nibble, low);
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
        for (int half = 0; half < 2; ++half) {
          const __m256i pairs = _mm256_maddubs_epi16(bytes[r][half], _mm256_set1_epi8(1));
          sum[r][half] = _mm256_add_epi32(sum[r][half], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
    }
  }
  const __m256i constant = _mm256_set1_epi32(static_cast<std::int32_t>(t.constant));
  const __m128i left = _mm_cvtsi32_si128(t.left), right = _mm_cvtsi32_si128(t.right);
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t first = 16 * panel + 8 * half;
    if (first >= t.outputs) break;
    const __m256 scale = _mm256_loadu_ps(t.w_scale + first);
    const std::size_t outputs = t.outputs - first;
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const std::size_t m = row + static_cast<std::size_t>(r);
      const __m256i count = _mm256_srl_epi32(_mm256_sll_epi32(sum[r][half], left), right);
      const __m256i s = _mm256_sub_epi32(constant, count);
      const __m256 h = _mm256_mul_ps(_mm256_set1_ps(t.x_scale[m]), scale);
      const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(s), h);
      float* out = t.y + m * t.y_stride + first;
      if (outputs >= 8) {
        _mm256_storeu_ps(out, y);
      } else {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_maskstore_ps(out, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(outputs)), lane), y);
      }
    }
  }
}

using TileRows = void (*)(const PlaneTile&, std::size_t, std::size_t);
constexpr TileRows kTileRows[kRows] = {&rows_by_panel<1>, &rows_by_panel<2>, &rows_by_panel<3>, &rows_by_panel<4>};

void plane_tile(const PlaneTile& t) {
  const std::size_t panels = (t.outputs + 15) / 16;
  // Rows in tiles of nearly equal height: 5 rows are 3 and 2, not 4 and 1.
  const std::size_t tiles = (t.rows + kRows - 1) / kRows;
  for (std::size_t panel = 0; panel < panels; ++panel)
    for (std::size_t i = 0; i < tiles; ++i) {
      const std::size_t row = t.rows * i / tiles;
      kTileRows[t.rows * (i + 1) / tiles - row - 1](t, row, panel);
    }
}

}  // namespace

const PlaneForms kPlaneFormsAvx2{&plane_row, nullptr, &plane_tile};

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
