#pragma once
#include <cstddef>

namespace lowbit::kernels {

/// A block of a float product, for one thread. Operands in 32-bit words: a float, or a pair of bfloat16.
struct ProductTask {
  std::size_t rows, panels;
  std::size_t steps;     ///< words of the contracted index
  std::size_t outputs;   ///< columns of y, at most 16 * panels
  const float* x;        ///< [rows, steps], row stride x_stride
  std::size_t x_stride;
  const float* w;        ///< [panels][steps][16]
  const float* scale;    ///< [16 * panels] or null
  float* y;
  std::size_t y_stride;
};

}  // namespace lowbit::kernels
