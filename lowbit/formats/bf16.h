#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace lowbit {

/// bfloat16 as files and kernels hold it: the upper half of a float32.
struct bf16 {
  std::uint16_t bits = 0;
  friend bool operator==(bf16, bf16) = default;
};

inline float to_float(bf16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }

/// Nearest bfloat16, ties to even. A denormal becomes a zero of its sign, as the processor's own conversion does;
/// NaN becomes the quiet NaN of its sign.
inline bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
  if (magnitude < 0x00800000u) return {static_cast<std::uint16_t>(bits >> 16 & 0x8000u)};
  return {static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
}

}  // namespace lowbit
