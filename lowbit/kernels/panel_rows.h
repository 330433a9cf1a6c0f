#pragma once
#include <cstddef>

#include "lowbit/formats/bf16.h"

namespace lowbit::kernels {

/// y[i] = to_bf16(x[i]) for i < k.
void round_row(std::size_t k, const float* x, bf16* y);

/// 16 rows to a panel: to[16 j + r] = from[pitch r + j] for j < words, in words of 32 bits (a float, or two bfloat16).
void interleave_16(std::size_t words, const float* from, std::size_t pitch, float* to);

}  // namespace lowbit::kernels
