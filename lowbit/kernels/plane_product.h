#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/executor.h"
#include "lowbit/kernels/code_rows.h"
#include "lowbit/kernels/plane_panels.h"

namespace lowbit::kernels {

/// Of two ternary sides the count itself is halved and may not wrap.
inline constexpr std::int64_t kLongestPlaneRow = std::int64_t{1} << 28;

/// y[m][n] = float(sum over k of o_x o_w) * (h_x[m] * h_w[n]): the bits of code_product, by xor and counts of bits. y:
/// row stride y_stride floats. Of x codes and scale are read. The rows' planes lie in memory of the calling thread
/// that grows to the largest input seen and is used again.
/// Requires has_planes of both grids and k <= min(longest_row(x_grid, *w.grid), kLongestPlaneRow), asserted.
void plane_product(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x, const PlaneBits& w,
                   float* y, std::size_t y_stride);

}  // namespace lowbit::kernels
