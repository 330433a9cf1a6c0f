#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/aligned.h"
#include "lowbit/base/executor.h"
#include "lowbit/kernels/code_rows.h"

namespace lowbit::kernels {

/// Coded weights as the products read them: panels of 16 outputs, 4 codes of the contracted index side by side.
struct CodePanels {
  const Grid* grid = nullptr;
  std::size_t n = 0, k = 0;
  Buffer<std::int8_t> data;     ///< [ceil(n/16)][code_stride(k)/4][16][4]: k = u + lowest as a signed byte; pads 0
  Buffer<std::int32_t> sum;     ///< [n rounded up to 16]: sum of k over the row
  Buffer<float> scale;          ///< [n rounded up to 16]: h; pads 0
};

/// Builds panels from coded rows (codes and scale are read, mask and sum are not). Output i is row i * apart of them.
void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                 CodePanels& panels, std::size_t apart = 1);

/// y[m][n] = float(sum over k of o_x o_w) * (h_x[m] * h_w[n]), exact sums. y: row stride y_stride floats.
/// x_stride   bytes between the codes of x's rows, which may be columns of longer ones; 0: code_stride(k).
/// Requires k <= longest_row(x_grid, *w.grid) (asserted; models check it when they are built).
void code_product(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x, const CodePanels& w,
                  float* y, std::size_t y_stride, std::size_t x_stride = 0);

}  // namespace lowbit::kernels
