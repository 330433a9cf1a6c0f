#include "lowbit/kernels/backward_int8_form.h"

#if defined(__x86_64__)
// GCC 12's own AVX-512 intrinsics begin from a register that is left undefined on purpose, and it warns of that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi2")
#define LOWBIT_INLINE inline __attribute__((always_inline))

namespace lowbit::kernels {
namespace {

constexpr std::size_t kLanes = 16;
constexpr std::size_t kRowsAhead =
    8;  // whose lines are asked for: the processor does not foresee the jump to a new row

// In assembly because GCC 12 copies and stores each sum around the intrinsic once there are two dozen of them.
LOWBIT_INLINE void add_products(__m512i& sum, __m512i codes, __m512i gradients) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(gradients));
}

LOWBIT_INLINE __m512i mixed(__m512i x) {
  x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 16)), _mm512_set1_epi32(-2048144789));
  x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 13)), _mm512_set1_epi32(-1028477387));
  return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

LOWBIT_INLINE __mmask16 first_lanes(std::size_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xffffu : (1u << count) - 1);
}

LOWBIT_INLINE void ask_for(const float* p) { __builtin_prefetch(p); }

LOWBIT_INLINE __m512i magnitude(__m512 x) {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

/// The scales of 16 blocks from the largest magnitudes of their values (as bits), and the factors to 32512.
LOWBIT_INLINE __m512 block_scales(__m512i top, __m512& inverse) {
  const __m512 x = _mm512_castsi512_ps(top);
  const __mmask16 bad = _mm512_cmpge_epi32_mask(top, _mm512_set1_epi32(0x7f800000));
  const __mmask16 good = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kSmallestGradient), _CMP_GE_OQ) & ~bad;
  inverse = _mm512_maskz_div_ps(good, _mm512_set1_ps(32512.0f), x);
  const __m512 scale = _mm512_maskz_div_ps(good, x, _mm512_set1_ps(127.0f));
  return _mm512_mask_blend_ps(bad, scale, _mm512_set1_ps(__builtin_nanf("")));
}

template <bool kScaled>
LOWBIT_INLINE __m512 read_row(const float* x, const float* scale, std::size_t l, std::size_t count) {
  if (l + kLanes <= count) {
    const __m512 v = _mm512_loadu_ps(x + l);
    return kScaled ? _mm512_mul_ps(v, _mm512_loadu_ps(scale + l)) : v;
  }
  const __mmask16 m = l < count ? first_lanes(count - l) : __mmask16{0};
  const __m512 v = _mm512_maskz_loadu_ps(m, x + l);
  return kScaled ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, scale + l)) : v;
}

template <bool kScaled>
void code_rows(const GradientSource& s, const GradientCodes& out) {
  // 64 values at once. Packing 32 to 16 bits goes lane by lane of 128 bits, which leaves a 4 x 4 transposition of the
  // groups of four; random words are drawn in that order, and one permutation (its own inverse) restores the codes.
  const __m512i transposed = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i steps = _mm512_mullo_epi32(transposed, _mm512_set1_epi32(static_cast<int>(kQuadStep)));
  const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
  const float* scale = kScaled ? s.scale + s.k_begin : nullptr;
  for (std::size_t r = 0; r < s.rows; ++r) {
    const float* const x = s.values + (s.row + r) * s.stride + s.k_begin;
    __m512i top[4] = {zero, zero, zero, zero};
    for (std::size_t l = 0; l < s.k_count; l += 64)
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        ask_for(x + s.stride + l + 16 * v);
        top[v] = _mm512_max_epi32(top[v], magnitude(read_row<kScaled>(x, scale, l + 16 * v, s.k_count)));
      }
    const __m512i all = _mm512_max_epi32(_mm512_max_epi32(top[0], top[1]), _mm512_max_epi32(top[2], top[3]));
    __m512 inverse;
    const __m512 scales = block_scales(_mm512_set1_epi32(_mm512_reduce_max_epi32(all)), inverse);
    out.scale[r] = _mm512_cvtss_f32(scales);
    const auto first = static_cast<std::uint32_t>(s.k_begin / 4);
    std::uint32_t counter = rounding_of_row(s.key, s.row + r) + first * kQuadStep;
    std::int8_t* const to = out.codes + r * kGradientBlock;
    __m512i sum = zero;
    for (std::size_t l = 0; l < s.k_count; l += 64, counter += 16 * kQuadStep) {
      __m512i g[4];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v)
        g[v] = _mm512_cvtps_epi32(_mm512_mul_ps(read_row<kScaled>(x, scale, l + 16 * v, s.k_count), inverse));
      const __m512i random = mixed(_mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(counter)), steps));
      const __m512i low = _mm512_add_epi16(_mm512_packs_epi32(g[0], g[1]), _mm512_unpacklo_epi8(random, zero));
      const __m512i high = _mm512_add_epi16(_mm512_packs_epi32(g[2], g[3]), _mm512_unpackhi_epi8(random, zero));
      const __m512i codes = _mm512_packs_epi16(_mm512_srai_epi16(low, 8), _mm512_srai_epi16(high, 8));
      add_products(sum, ones, codes);
      _mm512_storeu_si512(to + l, _mm512_permutexvar_epi32(transposed, codes));
    }
    out.sum[r] = _mm512_reduce_add_epi32(sum);
  }
}

/// Up to kVectors vectors of rows of A (columns as stored) at once, so that stored rows are read in long pieces.
template <bool kScaled, std::size_t kVectors>
void code_strip(const GradientSource& s, const GradientCodes& out, std::size_t r) {
  const float* const x = s.values + s.k_begin * s.stride + s.row + r;
  const float* const scale = kScaled ? s.scale + s.k_begin : nullptr;
  const __m512i zero = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
  const std::size_t width = s.rows - r < kVectors * kLanes ? s.rows - r : kVectors * kLanes;
  __mmask16 valid[kVectors];
  __m512i top[kVectors], of_row[kVectors], sum[kVectors];
  __m512 inverse[kVectors];
#pragma GCC unroll 8
  for (std::size_t v = 0; v < kVectors; ++v) {
    valid[v] = v * kLanes < width ? first_lanes(width - v * kLanes) : __mmask16{0};
    top[v] = sum[v] = zero;
    alignas(64) std::uint32_t words[kLanes];
    for (std::size_t i = 0; i < kLanes; ++i) words[i] = rounding_of_row(s.key, s.row + r + v * kLanes + i);
    of_row[v] = _mm512_load_si512(words);
  }
  const auto read = [&](std::size_t l, std::size_t v, __m512 factor) __attribute__((always_inline)) {
    const __m512 y = _mm512_maskz_loadu_ps(valid[v], x + l * s.stride + v * kLanes);
    return kScaled ? _mm512_mul_ps(y, factor) : y;
  };
  for (std::size_t l = 0; l < s.k_count; ++l) {
    const __m512 factor = kScaled ? _mm512_set1_ps(scale[l]) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (std::size_t v = 0; v < kVectors; ++v) {
      ask_for(x + (l + kRowsAhead) * s.stride + v * kLanes);
      top[v] = _mm512_max_epi32(top[v], magnitude(read(l, v, factor)));
    }
  }
#pragma GCC unroll 8
  for (std::size_t v = 0; v < kVectors; ++v)
    _mm512_mask_storeu_ps(out.scale + r + v * kLanes, valid[v], block_scales(top[v], inverse[v]));
  std::int8_t* const to = out.codes + r / kLanes * out.panel_bytes;
  for (std::size_t q = 0; 4 * q < s.k_count; ++q) {
    const auto counter = static_cast<std::uint32_t>(s.k_begin / 4 + q) * kQuadStep;
    const __m512i step = _mm512_set1_epi32(static_cast<int>(counter));
    const std::size_t count = s.k_count - 4 * q;
    __m512 factor[4];
#pragma GCC unroll 4
    for (std::size_t b = 0; b < 4; ++b)
      factor[b] = kScaled && b < count ? _mm512_set1_ps(scale[4 * q + b]) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (std::size_t v = 0; v < kVectors; ++v) {
      if (v * kLanes >= width) break;
      __m512i g[4];
#pragma GCC unroll 4
      for (std::size_t b = 0; b < 4; ++b)
        g[b] = b < count ? _mm512_cvtps_epi32(_mm512_mul_ps(read(4 * q + b, v, factor[b]), inverse[v])) : zero;
      // In 16 bits each: 0 and 2, 1 and 3. A code is the high byte of its sum.
      const __m512i random = mixed(_mm512_add_epi32(of_row[v], step));
      const __m512i even = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, g[0], _mm512_slli_epi32(g[2], 16)),
                                            _mm512_and_si512(random, _mm512_set1_epi16(255)));
      const __m512i odd = _mm512_add_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, g[1], _mm512_slli_epi32(g[3], 16)),
                                           _mm512_srli_epi16(random, 8));
      const __m512i codes = _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaaull, _mm512_srli_epi16(even, 8), odd);
      add_products(sum[v], ones, codes);
      _mm512_storeu_si512(to + v * out.panel_bytes + q * 64, codes);
    }
  }
#pragma GCC unroll 8
  for (std::size_t v = 0; v < kVectors; ++v) _mm512_mask_storeu_epi32(out.sum + r + v * kLanes, valid[v], sum[v]);
}

template <bool kScaled>
void code_columns(const GradientSource& s, const GradientCodes& out) {
  constexpr std::size_t kVectors = 8;
  std::size_t r = 0;
  for (; r + kVectors * kLanes <= s.rows; r += kVectors * kLanes) code_strip<kScaled, kVectors>(s, out, r);
  for (; r < s.rows; r += 2 * kLanes) code_strip<kScaled, 2>(s, out, r);
}

void code_rows_any(const GradientSource& s, const GradientCodes& out) {
  s.scale ? code_rows<true>(s, out) : code_rows<false>(s, out);
}
void code_columns_any(const GradientSource& s, const GradientCodes& out) {
  s.scale ? code_columns<true>(s, out) : code_columns<false>(s, out);
}

/// Four rows of 64 codes become four panels of 16 quads: bytes, then pairs are interleaved, which leaves quads in
/// groups of four across the lanes of 128 bits; these are put in order.
void pack_codes(const CodeSource& s, std::uint8_t* panels, std::size_t panel_bytes) {
  for (std::size_t q = 0; 4 * q < s.k_count; ++q)
    for (std::size_t j = 0; j < s.columns; j += 64) {
      const std::size_t left = s.columns - j;
      const __mmask64 valid = left >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << left) - 1;
      __m512i row[4];
#pragma GCC unroll 4
      for (std::size_t b = 0; b < 4; ++b) {
        const std::uint8_t* const from = s.codes + (s.k_begin + 4 * q + b) * s.stride + s.column + j;
        row[b] = 4 * q + b < s.k_count ? _mm512_maskz_loadu_epi8(valid, from) : _mm512_setzero_si512();
        __builtin_prefetch(from + 4 * s.stride);
      }
      const __m512i low01 = _mm512_unpacklo_epi8(row[0], row[1]), high01 = _mm512_unpackhi_epi8(row[0], row[1]);
      const __m512i low23 = _mm512_unpacklo_epi8(row[2], row[3]), high23 = _mm512_unpackhi_epi8(row[2], row[3]);
      // Lane L of x[i] holds columns 16 L + 4 i .. 16 L + 4 i + 3: a 4 x 4 transposition of lanes remains.
      const __m512i x0 = _mm512_unpacklo_epi16(low01, low23), x1 = _mm512_unpackhi_epi16(low01, low23);
      const __m512i x2 = _mm512_unpacklo_epi16(high01, high23), x3 = _mm512_unpackhi_epi16(high01, high23);
      const __m512i a = _mm512_shuffle_i32x4(x0, x1, 0x44), b = _mm512_shuffle_i32x4(x2, x3, 0x44);
      const __m512i c = _mm512_shuffle_i32x4(x0, x1, 0xee), d = _mm512_shuffle_i32x4(x2, x3, 0xee);
      const __m512i panel[4] = {_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd),
                                _mm512_shuffle_i32x4(c, d, 0x88), _mm512_shuffle_i32x4(c, d, 0xdd)};
      std::uint8_t* const to = panels + j / kLanes * panel_bytes + q * 64;
      for (std::size_t p = 0; p < 4 && p * kLanes < left; ++p) _mm512_storeu_si512(to + p * panel_bytes, panel[p]);
    }
}

/// 8 rows by up to 3 panels: 24 sums of 32 registers, 24 vpdpbusd against 11 loads.
template <std::size_t kPanels, std::size_t kRowStep, std::size_t kQuadStepBytes>
void tile(const Int8Block& t, const std::int8_t* a, const std::uint8_t* b, std::size_t i, std::size_t j,
          const float* ahead) {
  __m512i sum[kInt8Rows][kPanels];
  const std::size_t rows = t.rows - i < kInt8Rows ? t.rows - i : kInt8Rows;
  float* const c = t.c + i * t.c_stride + j;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kInt8Rows; ++r)
#pragma GCC unroll 3
    for (std::size_t p = 0; p < kPanels; ++p) sum[r][p] = _mm512_setzero_si512();
  for (std::size_t r = 0; r < rows; ++r)
#pragma GCC unroll 3
    for (std::size_t p = 0; p < kPanels; ++p) __builtin_prefetch(c + r * t.c_stride + p * kLanes, 1);
#pragma GCC unroll 1
  for (std::size_t q = 0; q < t.quads; ++q, a += kQuadStepBytes, b += 64) {
    if constexpr (kRowStep == kGradientBlock) {  // two rows; each line four times, which needs no branch
      __builtin_prefetch(ahead + 4 * q, 0, 2);
      __builtin_prefetch(ahead + t.ahead_stride + 4 * q, 0, 2);
    }
    __m512i codes[kPanels];
#pragma GCC unroll 3
    for (std::size_t p = 0; p < kPanels; ++p) codes[p] = _mm512_loadu_si512(b + p * t.b_panel_bytes);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kInt8Rows; ++r) {
      std::int32_t four;
      __builtin_memcpy(&four, a + r * kRowStep, 4);
      const __m512i gradients = _mm512_set1_epi32(four);
#pragma GCC unroll 3
      for (std::size_t p = 0; p < kPanels; ++p) add_products(sum[r][p], codes[p], gradients);
    }
  }
  const __m128i shift = _mm_cvtsi32_si128(t.shift);
  __mmask16 valid[kPanels];
#pragma GCC unroll 3
  for (std::size_t p = 0; p < kPanels; ++p) valid[p] = first_lanes(t.columns - j - p * kLanes);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kInt8Rows; ++r) {
    if (r >= rows) break;
    const __m512i constant = _mm512_set1_epi32(t.offset * t.sum[i + r]);
    const __m512 scale = _mm512_set1_ps(t.scale[i + r]);
    float* const row = c + r * t.c_stride;
#pragma GCC unroll 3
    for (std::size_t p = 0; p < kPanels; ++p) {
      const __m512 s = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_sll_epi32(sum[r][p], shift), constant));
      const __m512 y = t.overwrite
                           ? _mm512_mul_ps(s, scale)
                           : _mm512_fmadd_ps(s, scale, _mm512_maskz_loadu_ps(valid[p], row + p * kLanes));
      _mm512_mask_storeu_ps(row + p * kLanes, valid[p], y);
    }
  }
}

template <std::size_t kPanels>
void panels_by_rows(const Int8Block& t, const std::uint8_t* b, std::size_t j, const float*& ahead) {
  for (std::size_t i = 0; i < t.rows; i += kInt8Rows)
    if (t.by_rows) {
      tile<kPanels, kGradientBlock, 4>(t, t.a + i * kGradientBlock, b, i, j, ahead);
      if (ahead) ahead += 2 * t.ahead_stride;
    } else {
      tile<kPanels, 4, 64>(t, t.a + i / 16 * t.a_panel_bytes + i % 16 * 4, b, i, j, nullptr);
    }
}

void product(const Int8Block& t) {
  // Panels in groups of nearly equal width: 4 are 2 and 2, not 3 and 1.
  const std::size_t panels = (t.columns + kLanes - 1) / kLanes, groups = (panels + 2) / 3;
  const float* ahead = t.ahead;
  for (std::size_t g = 0; g < groups; ++g) {
    if (ahead && ahead >= t.ahead + t.rows * t.ahead_stride) ahead = nullptr;  // all asked for
    const std::size_t first = panels * g / groups, count = panels * (g + 1) / groups - first;
    const std::uint8_t* const b = t.b + first * t.b_panel_bytes;
    switch (count) {
      case 1:
        panels_by_rows<1>(t, b, first * kLanes, ahead);
        break;
      case 2:
        panels_by_rows<2>(t, b, first * kLanes, ahead);
        break;
      default:
        panels_by_rows<3>(t, b, first * kLanes, ahead);
        break;
    }
  }
}

}  // namespace

namespace forms {
const Int8Form avx512_int8{"AVX-512 VNNI", &code_rows_any, &code_columns_any, &pack_codes, &product};
}  // namespace forms
}  // namespace lowbit::kernels

#pragma GCC pop_options
#endif
