#if defined(__x86_64__)
// GCC 12's own AVX-512 intrinsics begin from a register that is left undefined on purpose, and it warns of that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <utility>

#include "lowbit/kernels/code_product_forms.h"
#include "lowbit/kernels/packed_panels.h"
#include "lowbit/kernels/packed_product_forms.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

struct Lanes {
  using V = __m512i;
  static LOWBIT_INLINE V load(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  template <int N>
  static LOWBIT_INLINE V shift_right(V v) {
    if constexpr (N > 0) return _mm512_srli_epi16(v, N);
    if constexpr (N < 0) return _mm512_slli_epi16(v, -N);
    return v;
  }
  template <int Mask>
  static LOWBIT_INLINE V masked(V v) {
    return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(Mask)));
  }
  template <int Mask>
  static LOWBIT_INLINE V merged(V a, V v) {
    return _mm512_ternarylogic_epi32(a, v, _mm512_set1_epi8(static_cast<char>(Mask)), 0xF8);
  }
};

#include "lowbit/kernels/packed_quads-inl.h"

LOWBIT_INLINE __m512i four_values(const std::int8_t* x) {
  std::int32_t values;
  __builtin_memcpy(&values, x, 4);
  return _mm512_set1_epi32(values);
}

// sum += weights (unsigned) times values (signed), four products a lane, modulo 2^32. In assembly because GCC 12 copies
// sums around the intrinsic.
LOWBIT_INLINE void add_products(__m512i& sum, __m512i weights, __m512i values) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(values));
}

// y of one row and one panel from D.
LOWBIT_INLINE void write_outputs(const PackedTile& t, std::size_t row, std::size_t panel, __m512i sum) {
  const std::size_t first = 16 * panel;
  if (first >= t.outputs) return;
  const std::size_t left = t.outputs - first;
  const auto valid = static_cast<__mmask16>(left >= 16 ? 0xFFFFu : (1u << left) - 1);
  const __m512i of_w = _mm512_mullo_epi32(_mm512_loadu_si512(t.w_sum + first), _mm512_set1_epi32(t.factors.of_w));
  const auto of_x = static_cast<std::uint32_t>(t.factors.of_x) * static_cast<std::uint32_t>(t.x_sum[row]);
  const __m512i same = _mm512_set1_epi32(static_cast<std::int32_t>(of_x + t.factors.constant));
  const __m512i s =
      _mm512_add_epi32(_mm512_sll_epi32(sum, _mm_cvtsi32_si128(t.factors.shift)), _mm512_add_epi32(of_w, same));
  const __m512 h = _mm512_mul_ps(_mm512_set1_ps(t.x_scale[row]), _mm512_loadu_ps(t.w_scale + first));
  _mm512_mask_storeu_ps(t.y + row * t.y_stride + first, valid, _mm512_mul_ps(_mm512_cvtepi32_ps(s), h));
}

// body(0), body(1), ..., numbers of compile time: sums indexed otherwise would not stay in registers.
template <int N, class Body>
LOWBIT_INLINE void each(Body&& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (body(std::integral_constant<int, I>()), ...);
  }
  (std::make_integer_sequence<int, N>());
}

// One row. A field is masked where it lies, f * i bits up, so its products come 2^(f * i) times too large; they are
// added apart, one sum for each distance from the field's place in the code, and brought down exactly at the end of a
// stretch of K short enough for them: a sum gets at most 4 quads of 4 bits, 2 of 2 and 1 of 1 from a block, below
// 4 * 128 * (4 * 240 + 2 * 192 + 128) = .72 * 2^20.
constexpr std::size_t kStretch = 2048;  // blocks
constexpr int kMostUp = 8, kMostDown = 6;
// Panels follow one another in memory, and so does what is read. How far ahead it is fetched, and into which cache, is
// measured (docs/explain/speed.md): 1 and 2 bits come faster out of memory through L2, 8 bits lose more
// out of the caches than they would gain out of memory.
template <int Bits>
constexpr bool kFar = Bits <= 2;
template <int Bits>
constexpr std::size_t kAhead = kFar<Bits> ? 4096 : 2048;

// Whether a field of a code of so many bits lies `up` bits above its place somewhere.
constexpr bool lies_up(int bits, int up) {
  const CodeFields fields = code_fields(bits);
  for (int f = 0; f < fields.count; ++f)
    for (int at = 0; at < 8; at += fields.bits[f])
      if (at - fields.low[f] == up) return true;
  return false;
}

// Sums that take turns from vector to vector, so that no product waits for the one before it.
template <int Bits>
constexpr int kTurns = Bits == 8 || Bits == 4 ? 4
                       : Bits == 2            ? 2
                                              : 1;
template <int Bits>
using Sums = __m512i[kMostUp + kMostDown][kTurns<Bits>];

// One vector of a field: each of its quads, masked where it lies.
template <int Bits, int Field, int Vector>
LOWBIT_INLINE void add_vector(const std::uint8_t* block, const std::int8_t* x, Sums<Bits>& sum) {
  constexpr CodeFields kFields = code_fields(Bits);
  constexpr int kWide = kFields.bits[Field], kInVector = 8 / kWide;
  const __m512i weights = Lanes::load(block + (kFields.vector[Field] + Vector) * 64);
  each<kInVector>([&](auto i) __attribute__((always_inline)) {
    constexpr int kMask = ((1 << kWide) - 1) << (kWide * i);
    add_products(sum[kWide * i - kFields.low[Field] + kMostDown][Vector % kTurns<Bits>],
                 kWide == 8 ? weights : Lanes::masked<kMask>(weights), four_values(x + 4 * (Vector * kInVector + i)));
  });
}

template <int Bits>
void one_row(const PackedTile& t, std::size_t panel) {
  constexpr CodeFields kFields = code_fields(Bits);
  const std::uint8_t* block = t.w + panel * t.panel_bytes;
  const std::int8_t* x = t.x;
  __m512i total = _mm512_setzero_si512();
  for (std::size_t left = t.blocks; left > 0;) {
    const std::size_t count = left < kStretch ? left : kStretch;
    left -= count;
    Sums<Bits> sum;
    each<kMostUp + kMostDown>([&](auto up) __attribute__((always_inline)) {
      each<kTurns<Bits>>([&](auto turn) __attribute__((always_inline)) { sum[up][turn] = _mm512_setzero_si512(); });
    });
#pragma GCC unroll 1
    for (std::size_t b = 0; b < count; ++b, x += 32, block += 64 * Bits) {
      each<Bits>([&](auto v) __attribute__((always_inline)) {
        _mm_prefetch(reinterpret_cast<const char*>(block + kAhead<Bits> + 64 * v),
                     kFar<Bits> ? _MM_HINT_T1 : _MM_HINT_T0);
      });
      each<kFields.count>([&](auto f) __attribute__((always_inline)) {
        each<kFields.bits[f]>([&](auto v) __attribute__((always_inline)) { add_vector<Bits, f, v>(block, x, sum); });
      });
    }
    each<kMostUp + kMostDown>([&](auto i) __attribute__((always_inline)) {
      constexpr int kUp = i - kMostDown;
      if constexpr (lies_up(Bits, kUp)) {
        __m512i s = sum[i][0];
        each<kTurns<Bits> - 1>([&](auto turn)
                                   __attribute__((always_inline)) { s = _mm512_add_epi32(s, sum[i][turn + 1]); });
        s = kUp < 0 ? _mm512_slli_epi32(s, kUp < 0 ? -kUp : 0) : _mm512_srai_epi32(s, kUp < 0 ? 0 : kUp);
        total = _mm512_add_epi32(total, s);
      }
    });
  }
  write_outputs(t, 0, panel, total);
}

// 2 to 6 rows by 4 panels: each quad is taken out of its bits once for all rows.
template <int Bits, int Rows, int Q>
LOWBIT_INLINE void add_quad(const std::uint8_t* const (&w)[4], const std::int8_t* x, std::size_t x_stride,
                            __m512i (&sum)[Rows][4]) {
  __m512i weights[4];
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) weights[p] = quad_of<Lanes, Bits, Q>(w[p]);
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    const __m512i values = four_values(x + static_cast<std::size_t>(r) * x_stride + 4 * Q);
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) add_products(sum[r][p], weights[p], values);
  }
}

template <int Bits, int Rows>
void some_rows(const PackedTile& t, std::size_t row) {
  // The last panel again in place of those that a narrow tile lacks: their outputs are not written.
  const std::uint8_t* w[4];
#pragma GCC unroll 4
  for (std::size_t p = 0; p < 4; ++p) w[p] = t.w + (16 * p < t.outputs ? p : (t.outputs - 1) / 16) * t.panel_bytes;
  const std::int8_t* x = t.x + row * t.x_stride;
  __m512i sum[Rows][4];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) sum[r][p] = _mm512_setzero_si512();
#pragma GCC unroll 1
  for (std::size_t b = 0; b < t.blocks; ++b, x += 32) {
    each<8>([&](auto q) __attribute__((always_inline)) { add_quad<Bits, Rows, q>(w, x, t.x_stride, sum); });
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) w[p] += 64 * Bits;
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p)
      write_outputs(t, row + static_cast<std::size_t>(r), static_cast<std::size_t>(p), sum[r][p]);
}

template <int Bits>
void tile(const PackedTile& t) {
  if (t.rows == 1) {
    for (std::size_t panel = 0; 16 * panel < t.outputs; ++panel) one_row<Bits>(t, panel);
    return;
  }
  // Rows in tiles of nearly equal height.
  const std::size_t tiles = (t.rows + kPackedRowsAvx512 - 1) / kPackedRowsAvx512;
  for (std::size_t i = 0; i < tiles; ++i) {
    const std::size_t row = t.rows * i / tiles;
    switch (t.rows * (i + 1) / tiles - row) {
      case 2:
        some_rows<Bits, 2>(t, row);
        break;
      case 3:
        some_rows<Bits, 3>(t, row);
        break;
      case 4:
        some_rows<Bits, 4>(t, row);
        break;
      case 5:
        some_rows<Bits, 5>(t, row);
        break;
      default:
        some_rows<Bits, 6>(t, row);
        break;
    }
  }
}

template <int Bits>
void unpack(const UnpackTile& t) {
  const __m512i lowest = _mm512_set1_epi8(static_cast<char>(t.lowest));
  const std::uint8_t* block = t.panel;
  std::int8_t* out = t.out;
  for (std::size_t b = 0; b < t.blocks; ++b, block += 64 * Bits, out += 512)
    each<8>([&](auto q) __attribute__((always_inline)) {
      _mm512_storeu_si512(out + 64 * q, _mm512_add_epi8(quad_of<Lanes, Bits, q>(block), lowest));
    });
}

}  // namespace

void packed_tile_avx512(const PackedTile& t) {
  constexpr decltype(&tile<1>) kForms[] = {&tile<1>, &tile<2>, &tile<3>, &tile<4>,
                                           &tile<5>, &tile<6>, &tile<7>, &tile<8>};
  kForms[t.bits - 1](t);
}

void unpack_panel_avx512(const UnpackTile& t) {
  constexpr decltype(&unpack<1>) kForms[] = {&unpack<1>, &unpack<2>, &unpack<3>, &unpack<4>,
                                             &unpack<5>, &unpack<6>, &unpack<7>, &unpack<8>};
  kForms[t.bits - 1](t);
}

}  // namespace lowbit::kernels
#pragma GCC pop_options
#endif
