#include "lowbit/files/dtype.h"

#include <array>
#include <cassert>
#include <cstring>

namespace lowbit::files {
namespace {

struct Row {
  std::string_view name;
  std::size_t bytes;
};
// In the order of Dtype.
constexpr std::array<Row, 12> kRows{{{"F64", 8},
                                     {"F32", 4},
                                     {"F16", 2},
                                     {"BF16", 2},
                                     {"I64", 8},
                                     {"I32", 4},
                                     {"I16", 2},
                                     {"I8", 1},
                                     {"U8", 1},
                                     {"U16", 2},
                                     {"U32", 4},
                                     {"BOOL", 1}}};

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1F;
  std::uint32_t mantissa = half & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  if (mantissa == 0) return std::bit_cast<float>(sign);
  // A denormal half is a normal float: shift the leading one to its place. In integers, as denormals may be flushed.
  const int shift = std::countl_zero(mantissa) - 21;
  mantissa = mantissa << shift & 0x3FFu;
  return std::bit_cast<float>(sign | static_cast<std::uint32_t>(113 - shift) << 23 | mantissa << 13);
}

template <class T, class Convert>
void each(std::span<const std::byte> bytes, std::span<float> out, Convert convert) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}
template <class T>
void cast_each(std::span<const std::byte> bytes, std::span<float> out) {
  each<T>(bytes, out, [](T value) { return static_cast<float>(value); });
}

}  // namespace

std::size_t dtype_bytes(Dtype dtype) { return kRows[static_cast<std::size_t>(dtype)].bytes; }
std::string_view dtype_name(Dtype dtype) { return kRows[static_cast<std::size_t>(dtype)].name; }

std::optional<Dtype> dtype_by_name(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].name == name) return static_cast<Dtype>(i);
  return std::nullopt;
}

void to_floats(Dtype dtype, std::span<const std::byte> bytes, std::span<float> out) {
  assert(bytes.size() == out.size() * dtype_bytes(dtype));
  switch (dtype) {
    case Dtype::f64:
      return cast_each<double>(bytes, out);
    case Dtype::f32:
      if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case Dtype::f16:
      return each<std::uint16_t>(bytes, out, half_to_float);
    case Dtype::bf16:
      return each<std::uint16_t>(bytes, out,
                                 [](std::uint16_t b) { return std::bit_cast<float>(std::uint32_t{b} << 16); });
    case Dtype::i64:
      return cast_each<std::int64_t>(bytes, out);
    case Dtype::i32:
      return cast_each<std::int32_t>(bytes, out);
    case Dtype::i16:
      return cast_each<std::int16_t>(bytes, out);
    case Dtype::i8:
      return cast_each<std::int8_t>(bytes, out);
    case Dtype::u8:
      return cast_each<std::uint8_t>(bytes, out);
    case Dtype::u16:
      return cast_each<std::uint16_t>(bytes, out);
    case Dtype::u32:
      return cast_each<std::uint32_t>(bytes, out);
    case Dtype::boolean:
      return each<std::uint8_t>(bytes, out, [](std::uint8_t b) { return b ? 1.0f : 0.0f; });
  }
}

}  // namespace lowbit::files
