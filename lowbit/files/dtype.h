#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lowbit::files {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are used where they lie");

/// The number types of tensors on disk, as safetensors names them (dtype_name).
enum class Dtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, u16, u32, boolean };

std::size_t dtype_bytes(Dtype dtype);
std::string_view dtype_name(Dtype dtype);
std::optional<Dtype> dtype_by_name(std::string_view name);

/// Decodes n values of any dtype to float32: exactly for f32, f16, bf16, i8, i16, u8, u16 and boolean, else rounded to
/// nearest even. bytes  n * dtype_bytes(dtype), on any alignment; out  n values.
void to_floats(Dtype dtype, std::span<const std::byte> bytes, std::span<float> out);

}  // namespace lowbit::files
