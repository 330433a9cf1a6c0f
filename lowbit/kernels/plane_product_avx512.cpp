#if defined(__x86_64__)
// GCC 12's own AVX-512 intrinsics begin from a register that is left undefined on purpose, and it warns of that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "lowbit/kernels/plane_product_forms.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vpopcntdq,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

// 12 rows by one panel, two sums each: 24 sums of 32 registers.
constexpr std::size_t kRows = 12;

template <bool Ternary>
LOWBIT_INLINE void plane_row_of(const PlaneRowJob& job) {
  // Of each block byte 8 j + i from byte 4 i + j.
  alignas(64) static constexpr std::uint8_t kOrder[64] = {
      0,  4,  8,  12, 16, 20, 24, 28, 1,  5,  9,  13, 17, 21, 25, 29, 2,  6,  10, 14, 18, 22,
      26, 30, 3,  7,  11, 15, 19, 23, 27, 31, 32, 36, 40, 44, 48, 52, 56, 60, 33, 37, 41, 45,
      49, 53, 57, 61, 34, 38, 42, 46, 50, 54, 58, 62, 35, 39, 43, 47, 51, 55, 59, 63};
  const __m512i order = _mm512_load_si512(kOrder);
  for (std::size_t block = 0; block < job.blocks; block += 2) {
    __m512i u = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(job.codes + 32 * block));
    // Ternary codes 0, 1, 2 become 0, 1, 3, whose bits are their planes.
    if constexpr (Ternary) u = _mm512_or_si512(u, _mm512_srli_epi16(u, 1));
    std::uint32_t* out = job.out + block;
    for (int plane = 0; plane < job.planes; ++plane, out += job.blocks) {
      const __mmask64 set = _mm512_test_epi8_mask(u, _mm512_set1_epi8(static_cast<char>(1 << plane)));
      __builtin_memcpy(out, &set, 8);
    }
  }
}

void plane_row(const PlaneRowJob& job) { job.ternary ? plane_row_of<true>(job) : plane_row_of<false>(job); }

// Of every three dwords the third becomes the sum (xor) of the three: see add_three.
void combine(std::size_t blocks, std::uint32_t* plane) {
  for (std::size_t i = 0; i + 3 <= blocks; i += 3) plane[i + 2] ^= plane[i] ^ plane[i + 1];
}

// ones += popcount(x ^ w): three instructions for 512 products. In assembly, since GCC 12 moves two dozen sums about.
LOWBIT_INLINE void add_one(__m512i& ones, const std::uint32_t* x, __m512i w) {
  __m512i d;
  asm("vpxord %2%{1to16%}, %3, %1\n\t"
      "vpopcntd %1, %1\n\t"
      "vpaddd %1, %0, %0"
      : "+v"(ones), "=&v"(d)
      : "m"(*x), "v"(w));
}

// Three words d = x ^ w at once by a full adder: popcount(d0) + popcount(d1) + popcount(d2) = popcount(s) +
// 2 popcount(c) with s = d0 ^ d1 ^ d2 and c their majority. s needs no d2, being (x0 ^ x1 ^ x2) ^ (w0 ^ w1 ^ w2): the
// third dword of x, and w2 here. c is one function of d0, d1 and s: d0 & d1, or not s where d0 and d1 differ. Eight
// instructions for 1536 products instead of nine, and two of the slow ones instead of three.
LOWBIT_INLINE void add_three(__m512i& ones, __m512i& twos, const std::uint32_t* x, __m512i w0, __m512i w1, __m512i w2) {
  __m512i d0, d1, s;
  asm("vpxord %5%{1to16%}, %8, %2\n\t"
      "vpxord %6%{1to16%}, %9, %3\n\t"
      "vpxord %7%{1to16%}, %10, %4\n\t"
      "vpternlogd $0xd4, %4, %3, %2\n\t"
      "vpopcntd %4, %4\n\t"
      "vpopcntd %2, %2\n\t"
      "vpaddd %4, %0, %0\n\t"
      "vpaddd %2, %1, %1"
      : "+v"(ones), "+v"(twos), "=&v"(d0), "=&v"(d1), "=&v"(s)
      : "m"(x[0]), "m"(x[1]), "m"(x[2]), "v"(w0), "v"(w1), "v"(w2));
}

// Few rows wait for memory: several passes go over one stretch of the panel that stays in the first cache, and ask for
// the next one meanwhile. A multiple of three blocks.
constexpr std::size_t kBlocksAtOnce = 48;
constexpr int kFewRows = 4;

// Sums of one stretch of blocks, all passes: counted[r] = P.
template <int Rows, bool Several>
LOWBIT_INLINE void count(const PlaneTile& t, const std::uint32_t* x_rows, const std::uint32_t* w_panel,
                         std::size_t blocks_of_all, __m512i (&counted)[Rows]) {
  __m512i ones[Rows], twos[Rows];
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) ones[r] = twos[r] = _mm512_setzero_si512();
  const std::size_t step = 16 * t.w_planes;
#pragma GCC unroll 1
  for (std::size_t i = 0; i < (Several ? t.pass_count : 1); ++i) {
    const PlanePass pass = t.passes[i];
    if (pass.doubled) {
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r) {
        ones[r] = _mm512_add_epi32(ones[r], ones[r]);
        twos[r] = _mm512_add_epi32(twos[r], twos[r]);
      }
    }
    const std::uint32_t* x = x_rows + pass.x * t.x_plane;
    const std::uint32_t* w = w_panel + std::size_t{16} * pass.w;
    std::size_t blocks = blocks_of_all;
#pragma GCC unroll 1
    for (; blocks >= 3; blocks -= 3, x += 3, w += 3 * step) {
      const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + step);
      const __m512i w2 = _mm512_ternarylogic_epi32(_mm512_loadu_si512(w + 2 * step), w0, w1, 0x96);
      if constexpr (Several && Rows <= kFewRows) {
        const std::uint32_t* next = w + kBlocksAtOnce * step;
        _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(next + step), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(next + 2 * step), _MM_HINT_T0);
      }
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r)
        add_three(ones[r], twos[r], x + static_cast<std::size_t>(r) * t.x_stride, w0, w1, w2);
    }
#pragma GCC unroll 1
    for (; blocks > 0; --blocks, ++x, w += step) {
      const __m512i w0 = _mm512_loadu_si512(w);
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r) add_one(ones[r], x + static_cast<std::size_t>(r) * t.x_stride, w0);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) counted[r] = _mm512_add_epi32(ones[r], _mm512_add_epi32(twos[r], twos[r]));
}

template <int Rows>
void rows_by_panel(const PlaneTile& t, std::size_t row, std::size_t panel) {
  __m512i counted[Rows];
  const std::uint32_t* x = t.x + row * t.x_stride;
  const std::uint32_t* w = t.w + panel * t.panel_dwords;
  if (t.pass_count == 1) {
    count<Rows, false>(t, x, w, t.blocks, counted);
  } else {
    const std::size_t at_once = Rows <= kFewRows ? kBlocksAtOnce : t.blocks;
    count<Rows, true>(t, x, w, t.blocks < at_once ? t.blocks : at_once, counted);
    for (std::size_t block = at_once; block < t.blocks; block += at_once) {
      __m512i more[Rows];
      const std::size_t blocks = t.blocks - block < at_once ? t.blocks - block : at_once;
      count<Rows, true>(t, x + block, w + 16 * t.w_planes * block, blocks, more);
#pragma GCC unroll 12
      for (int r = 0; r < Rows; ++r) counted[r] = _mm512_add_epi32(counted[r], more[r]);
    }
  }
  const std::size_t first = 16 * panel, outputs = t.outputs - first;
  const auto valid = static_cast<__mmask16>(outputs >= 16 ? 0xFFFFu : (1u << outputs) - 1);
  const __m512i constant = _mm512_set1_epi32(static_cast<std::int32_t>(t.constant));
  const __m512 scale = _mm512_loadu_ps(t.w_scale + first);
  const __m128i left = _mm_cvtsi32_si128(t.left), right = _mm_cvtsi32_si128(t.right);
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) {
    const std::size_t m = row + static_cast<std::size_t>(r);
    const __m512i s = _mm512_sub_epi32(constant, _mm512_srl_epi32(_mm512_sll_epi32(counted[r], left), right));
    const __m512 h = _mm512_mul_ps(_mm512_set1_ps(t.x_scale[m]), scale);
    _mm512_mask_storeu_ps(t.y + m * t.y_stride + first, valid, _mm512_mul_ps(_mm512_cvtepi32_ps(s), h));
  }
}

using TileRows = void (*)(const PlaneTile&, std::size_t, std::size_t);
constexpr TileRows kTileRows[kRows] = {
    &rows_by_panel<1>, &rows_by_panel<2>,  &rows_by_panel<3>,  &rows_by_panel<4>,
    &rows_by_panel<5>, &rows_by_panel<6>,  &rows_by_panel<7>,  &rows_by_panel<8>,
    &rows_by_panel<9>, &rows_by_panel<10>, &rows_by_panel<11>, &rows_by_panel<12>};

void plane_tile(const PlaneTile& t) {
  const std::size_t panels = (t.outputs + 15) / 16;
  // Rows in tiles of nearly equal height: 16 rows are 8 and 8, not 12 and 4.
  const std::size_t tiles = (t.rows + kRows - 1) / kRows;
  for (std::size_t i = 0; i < tiles; ++i) {
    const std::size_t row = t.rows * i / tiles, rows = t.rows * (i + 1) / tiles - row;
    for (std::size_t panel = 0; panel < panels; ++panel) kTileRows[rows - 1](t, row, panel);
  }
}

}  // namespace

const PlaneForms kPlaneFormsPopcnt512{&plane_row, &combine, &plane_tile};

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
