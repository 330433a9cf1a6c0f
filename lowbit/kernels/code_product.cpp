#include "lowbit/kernels/code_product.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "lowbit/kernels/code_product_forms.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {

SumFactors sum_factors(const Grid& x, const Grid& w, std::size_t k) {
  const int c_x = x.value_of_code(0), c_w = w.addend();
  const int pair = 2 * (x.levels - 1) * -w.lowest();
  return {x.multiplier() * w.multiplier() / 2, x.multiplier() * c_w, c_x * w.multiplier(),
          static_cast<std::uint32_t>(k) * static_cast<std::uint32_t>(c_x * c_w), pair <= 32767 ? 32767 / pair : 0};
}

namespace {

// The split into tasks depends on the shape alone. A task is up to 96 rows (a multiple of both tile heights) by one or
// more groups of panels, and at least about a quarter of a million products, so that handing it out costs little.
constexpr std::size_t kRowsPerTask = 96;
constexpr std::size_t kProductsPerTask = std::size_t{1} << 18;

// The definition itself, on the panels' codes put back into rows.
void product_tile_scalar(const ProductTile& t, const Grid& x_grid, const Grid& w_grid, std::size_t k) {
  thread_local Buffer<std::uint8_t> codes;
  codes.resize(k);
  for (std::size_t n = 0; n < t.outputs; ++n) {
    const std::int8_t* panel = t.w + n / 16 * t.panel_bytes + n % 16 * 4;
    for (std::size_t i = 0; i < k; ++i)
      codes[i] = static_cast<std::uint8_t>(panel[i / 4 * 64 + i % 4] - w_grid.lowest());
    for (std::size_t m = 0; m < t.rows; ++m)
      t.y[m * t.y_stride + n] = reference::code_product<float>({t.x + m * t.x_stride, k}, x_grid, t.x_scale[m],
                                                               {codes.data(), k}, w_grid, t.w_scale[n]);
  }
}

// nullptr: the definition.
using TileForm = void (*)(const ProductTile&);
TileForm vector_tile_form() {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return &product_tile_avx512;
    case Isa::avx2:
      return &product_tile_avx2;
    case Isa::scalar:
      break;
  }
#endif
  return nullptr;
}

}  // namespace

void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                 CodePanels& panels, std::size_t apart) {
  const std::size_t stride = code_stride(k), count = (n + 15) / 16;
  panels.grid = &grid;
  panels.n = n;
  panels.k = k;
  panels.data.resize(count * 16 * stride, Pages::shared);
  panels.sum.resize(count * 16);
  panels.scale.resize(count * 16);
  const int lowest = grid.lowest();
  executor.parallel_for(count, [&](std::size_t p) {
    std::int8_t* panel = panels.data.data() + p * 16 * stride;
    for (std::size_t j = 0; j < 16; ++j) {
      const std::size_t row = 16 * p + j;
      panels.scale[row] = row < n ? weights.scale[row * apart] : 0.0f;
      panels.sum[row] = 0;
    }
    const std::size_t rows = std::min<std::size_t>(16, n - 16 * p);
    // 64 codes of each of the panel's rows at a time: 1 KB in and out.
    for (std::size_t i = 0; i < stride; i += 64) {
      const std::size_t valid = std::min<std::size_t>(64, k - std::min(k, i));
      for (std::size_t j = 0; j < 16; ++j) {
        std::int8_t ks[64] = {};
        if (j < rows) {
          const std::uint8_t* u = weights.codes + (16 * p + j) * apart * stride + i;
          std::int32_t sum = 0;
          for (std::size_t b = 0; b < valid; ++b) {
            ks[b] = static_cast<std::int8_t>(u[b] + lowest);
            sum += ks[b];
          }
          panels.sum[16 * p + j] += sum;
        }
        for (std::size_t q = 0; q < 16; ++q) std::memcpy(panel + (i / 4 + q) * 64 + 4 * j, ks + 4 * q, 4);
      }
    }
  });
}

void code_product(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x, const CodePanels& w,
                  float* y, std::size_t y_stride, std::size_t x_stride) {
  assert(static_cast<std::int64_t>(w.k) <= longest_row(x_grid, *w.grid));
  if (m == 0 || w.n == 0) return;
  const std::size_t stride = code_stride(w.k);
  if (x_stride == 0) x_stride = stride;
  const SumFactors factors = sum_factors(x_grid, *w.grid, w.k);
  const std::size_t panel_bytes = 16 * stride;
  const std::size_t group = 16 * kPanelsPerGroup;
  const std::size_t groups = (w.n + group - 1) / group;
  const std::size_t row_blocks = (m + kRowsPerTask - 1) / kRowsPerTask;
  const std::size_t products = std::max<std::size_t>(1, std::min(m, kRowsPerTask) * group * w.k);
  const std::size_t groups_per_task = std::max<std::size_t>(1, kProductsPerTask / products);
  const TileForm vector_form = vector_tile_form();
  executor.parallel_for((groups + groups_per_task - 1) / groups_per_task * row_blocks, [&](std::size_t task) {
    // Row blocks follow one another within a group, so its panels stay in L2.
    const std::size_t block = task % row_blocks, first_group = task / row_blocks * groups_per_task;
    const std::size_t row = m * block / row_blocks, rows = m * (block + 1) / row_blocks - row;
    for (std::size_t g = first_group; g < std::min(groups, first_group + groups_per_task); ++g) {
      const std::size_t n = g * group;
      const ProductTile tile{factors,
                             (w.k + 3) / 4,
                             rows,
                             x.codes + row * x_stride,
                             x_stride,
                             x.scale + row,
                             x.sum + row,
                             w.data.data() + n / 16 * panel_bytes,
                             panel_bytes,
                             w.sum.data() + n,
                             w.scale.data() + n,
                             std::min(group, w.n - n),
                             y + row * y_stride + n,
                             y_stride};
      if (vector_form) {
        vector_form(tile);
        continue;
      }
      product_tile_scalar(tile, x_grid, *w.grid, w.k);
    }
  });
}

}  // namespace lowbit::kernels
