// Coding and packing for Int8Form in plain loops that the compiler turns into vectors. Included after `#pragma GCC
// target`, so this file includes nothing, and everything is in the unnamed namespace: no function compiled here may
// serve another instruction set.
namespace {

inline std::uint32_t bits_without_sign(float x) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffffu;
}

/// The nearest integer of |x| < 2^22, ties to even: added to 1.5 * 2^23 it stands in the low bits.
inline std::int32_t nearest(float x) {
  const float shifted = x + 12582912.0f;
  std::int32_t bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  return bits - 0x4b400000;
}

/// Scale of a block from the largest bits_without_sign of its values, and the factor that takes them to 32512.
inline float block_scale(std::uint32_t top_bits, float& inverse) {
  float top;
  __builtin_memcpy(&top, &top_bits, sizeof top);
  inverse = 0;
  if (top_bits >= 0x7f800000u) return __builtin_nanf("");
  if (top < kSmallestGradient) return 0;
  inverse = 32512.0f / top;
  return top / 127.0f;
}

inline std::uint32_t mixed(std::uint32_t x) {
  x = (x ^ x >> 16) * 0x85ebca6bu;
  x = (x ^ x >> 13) * 0xc2b2ae35u;
  return x ^ x >> 16;
}

inline std::int8_t code_of(float x, std::uint32_t byte) {
  return static_cast<std::int8_t>((nearest(x) + static_cast<std::int32_t>(byte)) >> 8);
}

void code_rows_plain(const GradientSource& s, const GradientCodes& out) {
  alignas(64) float x[kGradientBlock];
  const std::size_t quads = (s.k_count + 3) / 4;
  for (std::size_t r = 0; r < s.rows; ++r) {
    const float* from = s.values + (s.row + r) * s.stride + s.k_begin;
    if (s.scale)
      for (std::size_t l = 0; l < s.k_count; ++l) x[l] = from[l] * s.scale[s.k_begin + l];
    else
      __builtin_memcpy(x, from, s.k_count * sizeof(float));
    for (std::size_t l = s.k_count; l < 4 * quads; ++l) x[l] = 0;
    std::uint32_t top = 0;
    for (std::size_t l = 0; l < s.k_count; ++l) {
      const std::uint32_t bits = bits_without_sign(x[l]);
      top = top > bits ? top : bits;
    }
    float inverse;
    out.scale[r] = block_scale(top, inverse);
    const std::uint32_t of_row = rounding_of_row(s.key, s.row + r);
    const auto first = static_cast<std::uint32_t>(s.k_begin / 4);
    std::int8_t* to = out.codes + r * kGradientBlock;
    std::int32_t sum = 0;
    for (std::size_t q = 0; q < quads; ++q) {
      const std::uint32_t random = mixed(of_row + (first + static_cast<std::uint32_t>(q)) * kQuadStep);
      for (unsigned b = 0; b < 4; ++b) {
        const std::int8_t g = code_of(x[4 * q + b] * inverse, random >> 8 * b & 255);
        to[4 * q + b] = g;
        sum += g;
      }
    }
    out.sum[r] = sum;
  }
}

void code_columns_plain(const GradientSource& s, const GradientCodes& out) {
  constexpr std::size_t kWidth = 16;
  const std::size_t quads = (s.k_count + 3) / 4;
  for (std::size_t r = 0; r < s.rows; r += kWidth) {
    const std::size_t width = s.rows - r < kWidth ? s.rows - r : kWidth;
    std::uint32_t top[kWidth] = {}, of_row[kWidth];
    float inverse[kWidth] = {};
    std::int32_t sum[kWidth] = {};
    const auto row_of = [&](std::size_t l) { return s.values + (s.k_begin + l) * s.stride + s.row + r; };
    const auto factor = [&](std::size_t l) { return s.scale ? s.scale[s.k_begin + l] : 1.0f; };
    for (std::size_t l = 0; l < s.k_count; ++l)
      for (std::size_t i = 0; i < width; ++i) {
        const std::uint32_t bits = bits_without_sign(row_of(l)[i] * factor(l));
        top[i] = top[i] > bits ? top[i] : bits;
      }
    for (std::size_t i = 0; i < kWidth; ++i) of_row[i] = rounding_of_row(s.key, s.row + r + i);
    for (std::size_t i = 0; i < width; ++i) out.scale[r + i] = block_scale(top[i], inverse[i]);
    std::int8_t* const to = out.codes + r / kWidth * out.panel_bytes;
    for (std::size_t l = 0; l < 4 * quads; ++l) {
      float x[kWidth] = {};
      if (l < s.k_count)
        for (std::size_t i = 0; i < width; ++i) x[i] = row_of(l)[i] * factor(l);
      const std::uint32_t counter = static_cast<std::uint32_t>((s.k_begin + l) / 4) * kQuadStep;
      for (std::size_t i = 0; i < kWidth; ++i) {
        const std::int8_t g = code_of(x[i] * inverse[i], mixed(of_row[i] + counter) >> 8 * (l % 4) & 255);
        to[l / 4 * 64 + 4 * i + l % 4] = g;
        sum[i] += g;
      }
    }
    for (std::size_t i = 0; i < width; ++i) out.sum[r + i] = sum[i];
  }
}

void pack_codes_plain(const CodeSource& s, std::uint8_t* panels, std::size_t panel_bytes) {
  for (std::size_t l = 0; l < (s.k_count + 3) / 4 * 4; ++l) {
    const std::uint8_t* from = s.codes + (s.k_begin + l) * s.stride + s.column;
    for (std::size_t j = 0; j < (s.columns + 15) / 16 * 16; ++j)
      panels[j / 16 * panel_bytes + l / 4 * 64 + j % 16 * 4 + l % 4] = l < s.k_count && j < s.columns ? from[j] : 0;
  }
}

}  // namespace
