#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/executor.h"
#include "lowbit/kernels/backward.h"

// Backward products with 8-bit gradient codes. The side that was coded in the forward pass stays exact; the gradient is
// rounded stochastically, so that its expectation is the gradient.
namespace lowbit::kernels {

/// Gradients share a scale over at most so many contracted indices. An integer sum over such a block,
/// |sum g o| <= 512 * 127 * 255 < 2^24, is exact in float32.
inline constexpr std::size_t kGradientBlock = 512;

/// Length of the blocks of a contracted index of size k > 0, a multiple of 64; the last may be shorter.
constexpr std::size_t gradient_block(std::size_t k) {
  const std::size_t blocks = (k + kGradientBlock - 1) / kGradientBlock;
  return ((k + blocks - 1) / blocks + 63) / 64 * 64;
}

/// A row's block whose largest value is below this counts as zero: its inverse would leave float32.
inline constexpr float kSmallestGradient = 0x1p-100f;

/// A bijective hash of 32 bits.
/// source  Appleby, MurmurHash3 (finalizer).
constexpr std::uint32_t mix32(std::uint32_t x) {
  x = (x ^ x >> 16) * 0x85ebca6bu;
  x = (x ^ x >> 13) * 0xc2b2ae35u;
  return x ^ x >> 16;
}
inline constexpr std::uint32_t kQuadStep = 0x9e3779b9u;  ///< odd, so that a row's counters do not repeat
/// Random bits of a row of the gradient operand, from the product's key.
constexpr std::uint32_t rounding_of_row(std::uint64_t key, std::size_t row) {
  const auto low = static_cast<std::uint32_t>(key), high = static_cast<std::uint32_t>(key >> 32);
  return mix32(mix32(low + static_cast<std::uint32_t>(row) * kQuadStep) ^ high);
}
/// Random bits of the contracted indices 4 quad .. 4 quad + 3 of that row: index 4 quad + b takes byte b, lowest first.
constexpr std::uint32_t rounding_word(std::uint32_t of_row, std::size_t quad) {
  return mix32(of_row + static_cast<std::uint32_t>(quad) * kQuadStep);
}

/// C [m, n] (+)= A [m, k] B [k, n], where A = a.values, scaled along k, is coded per row and block of
/// gradient_block(k):
///   x = a * contracted_scale,  top = max |x| over the block,  scale = top / 127,  inverse = 32512 / top,
///   g = floor((nearest_even(x * inverse) + byte) / 256)   with a random byte of rounding_word: -127 <= g <= 127,
///   C = fma(float(sum of g o), scale, C), block after block; the first block's product overwrites when not
///   accumulating.
/// The expectation of g * scale is x within scale / 512; the largest value and zero are exact. A block that holds a NaN
/// or an infinity makes its row of C NaN. Bits equal on every instruction set and for any number of threads.
/// a: values, transposed or not. b: codes of any grid, not transposed, no contracted_scale.
/// key: fixes the random bits; take another for every product.
/// source  stochastic rounding of gradients: Gupta et al. 2015, arXiv 1502.02551.
void backward_product_int8(Executor& executor, std::uint64_t key, std::size_t m, std::size_t n, std::size_t k,
                           const BackwardOperand& a, const BackwardOperand& b, float* c, std::size_t c_stride,
                           bool accumulate);

}  // namespace lowbit::kernels
