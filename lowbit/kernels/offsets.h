#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/executor.h"
#include "lowbit/formats/grid.h"

// What stands beside the integer product where a side is coded around an offset: x = o h + offset.
namespace lowbit::kernels {

/// of[n] = float(sum of o over the row) * h: what a row's values add up to. u_sum: [rows] sums of u over k codes
/// (CodedRows::sum).
void value_sums(const Grid& grid, std::size_t rows, std::size_t k, const std::int32_t* u_sum, const float* scale,
                float* of);

/// y[m][n] += offset * w_sum[n], two roundings: reference::offset_term. w_sum: value_sums of the weights. y: row stride
/// y_stride. source  LSQ+, Bhalgat et al. 2020, arXiv 2004.09576, equation 9 (there folded into the bias).
void add_offset(Executor& executor, std::size_t m, std::size_t n, float offset, const float* w_sum, float* y,
                std::size_t y_stride);

/// y[m][n] += x_sum[m] * w_offset[n], two roundings: for weights coded around an offset of each row.
/// source  AdaBin, Tu et al. 2022, arXiv 2208.08084, equation 5.
void add_row_offsets(Executor& executor, std::size_t m, std::size_t n, const float* x_sum, const float* w_offset,
                     float* y, std::size_t y_stride);

/// x[i][j] += the sum over n of dy[i][n] * w_offset[n], for every column j: what such weights add to their
/// inputs' gradient. dy [rows, n], x [rows, k].
void add_row_dots(Executor& executor, std::size_t rows, std::size_t n, std::size_t k, const float* dy,
                  const float* w_offset, float* x);
/// of[j] = the sum of column j of x [rows, columns], 64 rows at a time in float, these in double. For gradients.
void column_sums(Executor& executor, std::size_t rows, std::size_t columns, const float* x, double* of);

}  // namespace lowbit::kernels
