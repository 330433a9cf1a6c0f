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

/// Predicted time of plane_product over that of code_product on panels of bytes, under the instruction set in use:
/// which of the two to keep weights for. 0 to infinity; infinity where there are no planes. Out of rates that were
/// measured on Zen 4 (bench/kernels_plane_bench.cpp) and of the bytes that a few rows wait for.
double plane_time_over_bytes(std::size_t m, const Grid& x_grid, const Grid& w_grid);

}  // namespace lowbit::kernels
