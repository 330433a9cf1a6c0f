#pragma once
#include <optional>
#include <string_view>

namespace lowbit::laws {

/// Bits of one weight and one activation, as a format's name tells them.
struct Bits {
  double weight = 16, activation = 16;
};

/// Reads names as people write them, anywhere in a longer name: w4a4, W1.58A8, "no-HT W4A16", bf16, fp16, f32 (counted
/// as 16: its weights are no better), fp4, int4, nvfp4. "2:4" (or 4:8) in the name halves the weights and adds half a
/// bit of indices. Nothing when the name tells none.
std::optional<Bits> bits_of(std::string_view format);

/// Whether a name is the full precision that others are compared with: bf16, f32, fp16, fp32, f16, float32, w16a16.
bool is_full_precision(std::string_view format);

}  // namespace lowbit::laws
