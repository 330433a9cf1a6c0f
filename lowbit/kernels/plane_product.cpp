#include "lowbit/kernels/plane_product.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "lowbit/kernels/plane_product_forms.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace {

// The split into tasks depends on the shape alone, as in code_product: up to 96 rows by one or more groups of panels.
// A product of bits is several times cheaper than one of bytes, so a task is more of them.
constexpr std::size_t kRowsPerTask = 96;
constexpr std::size_t kPanelsPerGroup = 4;
constexpr std::size_t kProductsPerTask = std::size_t{1} << 20;

void plane_row_plain(const PlaneRowJob& job) {
  for (int plane = 0; plane < job.planes; ++plane) {
    for (std::size_t block = 0; block < job.blocks; ++block) {
      std::uint32_t bits = 0;
      for (unsigned i = 0; i < 8; ++i)
        for (unsigned j = 0; j < 4; ++j) {
          const unsigned u = job.codes[32 * block + 4 * i + j];
          const bool bit = job.ternary ? static_cast<int>(u) > plane : (u >> plane & 1) != 0;
          bits |= std::uint32_t{bit} << (8 * j + i);
        }
      job.out[static_cast<std::size_t>(plane) * job.blocks + block] = bits;
    }
  }
}

void plane_tile_plain(const PlaneTile& t) {
  for (std::size_t m = 0; m < t.rows; ++m) {
    for (std::size_t n = 0; n < t.outputs; ++n) {
      const std::uint32_t* w = t.w + n / 16 * t.panel_dwords + n % 16;
      std::uint32_t count = 0;
      for (std::size_t i = 0; i < t.pass_count; ++i) {
        const PlanePass pass = t.passes[i];
        if (pass.doubled) count *= 2;
        const std::uint32_t* x = t.x + m * t.x_stride + pass.x * t.x_plane;
        for (std::size_t block = 0; block < t.blocks; ++block)
          count += static_cast<std::uint32_t>(std::popcount(x[block] ^ w[(block * t.w_planes + pass.w) * 16]));
      }
      const auto sum = static_cast<std::int32_t>(t.constant - (count << t.left >> t.right));
      t.y[m * t.y_stride + n] = static_cast<float>(sum) * (t.x_scale[m] * t.w_scale[n]);
    }
  }
}

constexpr PlaneForms kPlaneFormsPlain{&plane_row_plain, nullptr, &plane_tile_plain};

struct Passes {
  std::array<PlanePass, 16> pass;
  std::size_t count = 0;
};

// Ternary planes weigh the same, so all of them are at shift 0.
Passes passes_of(const Grid& x, const Grid& w) {
  Passes passes;
  const int x_planes = plane_count(x), w_planes = plane_count(w);
  for (int shift = x_planes + w_planes - 2; shift >= 0; --shift) {
    bool doubled = passes.count > 0;
    for (int i = 0; i < x_planes; ++i)
      for (int j = 0; j < w_planes; ++j) {
        if ((x.zero_is_level ? 0 : i) + (w.zero_is_level ? 0 : j) != shift) continue;
        passes.pass[passes.count++] = {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(j), doubled};
        doubled = false;
      }
  }
  return passes;
}

// What the planes of a grid weigh together.
std::uint32_t weight_of_planes(const Grid& grid) {
  return grid.zero_is_level ? 2 : static_cast<std::uint32_t>(grid.levels - 1);
}

}  // namespace

const PlaneForms& plane_forms() {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return cpu_features().avx512_vpopcntdq ? kPlaneFormsPopcnt512 : kPlaneFormsAvx2;
    case Isa::avx2:
      return kPlaneFormsAvx2;
    case Isa::scalar:
      break;
  }
#endif
  return kPlaneFormsPlain;
}

void make_plane_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                       PlanePanels& panels) {
  assert(has_planes(grid));
  const std::size_t blocks = plane_blocks(k), count = (n + 15) / 16;
  const auto planes = static_cast<std::size_t>(plane_count(grid));
  panels.grid = &grid;
  panels.n = n;
  panels.k = k;
  panels.data.resize(count * blocks * planes * 16, Pages::shared);
  panels.scale.resize(count * 16);
  const PlaneForms& forms = plane_forms();
  executor.parallel_for(count, [&](std::size_t p) {
    thread_local Buffer<std::uint32_t> scratch;
    scratch.resize(planes * blocks);
    std::uint32_t* panel = panels.data.data() + p * blocks * planes * 16;
    for (std::size_t j = 0; j < 16; ++j) {
      const std::size_t row = 16 * p + j;
      panels.scale[row] = row < n ? weights.scale[row] : 0.0f;
      if (row < n)
        forms.row({weights.codes + row * code_stride(k), blocks, static_cast<int>(planes), grid.zero_is_level,
                   scratch.data()});
      else
        std::fill(scratch.begin(), scratch.end(), 0u);
      for (std::size_t plane = 0; plane < planes; ++plane)
        for (std::size_t block = 0; block < blocks; ++block)
          panel[(block * planes + plane) * 16 + j] = scratch[plane * blocks + block];
    }
  });
}

void plane_product(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x, const PlaneBits& w,
                   float* y, std::size_t y_stride) {
  assert(has_planes(x_grid) && has_planes(*w.grid));
  assert(static_cast<std::int64_t>(w.k) <= std::min(longest_row(x_grid, *w.grid), kLongestPlaneRow));
  if (m == 0 || w.n == 0) return;
  const PlaneForms& forms = plane_forms();
  const std::size_t blocks = plane_blocks(w.k), used = (w.k + 31) / 32;
  const auto x_planes = static_cast<std::size_t>(plane_count(x_grid));
  const auto w_planes = static_cast<std::size_t>(plane_count(*w.grid));
  thread_local Buffer<std::uint32_t> memory;
  if (memory.size() < m * x_planes * blocks) memory.resize(m * x_planes * blocks);
  std::uint32_t* const rows_of_planes = memory.data();
  const std::size_t rows_at_once = std::max<std::size_t>(1, 65536 / std::max<std::size_t>(w.k, 1));
  executor.parallel_for((m + rows_at_once - 1) / rows_at_once, [&](std::size_t task) {
    for (std::size_t row = task * rows_at_once; row < std::min(m, (task + 1) * rows_at_once); ++row) {
      std::uint32_t* planes = rows_of_planes + row * x_planes * blocks;
      forms.row({x.codes + row * code_stride(w.k), blocks, static_cast<int>(x_planes), x_grid.zero_is_level, planes});
      if (forms.combine)
        for (std::size_t plane = 0; plane < x_planes; ++plane) forms.combine(used, planes + plane * blocks);
    }
  });

  const Passes passes = passes_of(x_grid, *w.grid);
  const int halvings = int{x_grid.zero_is_level} + int{w.grid->zero_is_level};
  const std::uint32_t constant =
      static_cast<std::uint32_t>(w.k) * (weight_of_planes(x_grid) * weight_of_planes(*w.grid) >> halvings);
  const std::size_t panel_dwords = blocks * w_planes * 16;
  const std::size_t group = 16 * kPanelsPerGroup;
  const std::size_t groups = (w.n + group - 1) / group;
  const std::size_t row_blocks = (m + kRowsPerTask - 1) / kRowsPerTask;
  const std::size_t products = std::max<std::size_t>(1, std::min(m, kRowsPerTask) * group * w.k * passes.count);
  const std::size_t groups_per_task = std::max<std::size_t>(1, kProductsPerTask / products);
  executor.parallel_for((groups + groups_per_task - 1) / groups_per_task * row_blocks, [&](std::size_t task) {
    // Row blocks follow one another within a group, so its panels stay in L2.
    const std::size_t block = task % row_blocks, first_group = task / row_blocks * groups_per_task;
    const std::size_t row = m * block / row_blocks, rows = m * (block + 1) / row_blocks - row;
    for (std::size_t g = first_group; g < std::min(groups, first_group + groups_per_task); ++g) {
      const std::size_t n = g * group;
      forms.tile({passes.pass.data(), passes.count, constant, halvings == 0 ? 1 : 0, halvings == 2 ? 1 : 0, used, rows,
                  rows_of_planes + row * x_planes * blocks, x_planes * blocks, blocks, x.scale + row,
                  w.data + n / 16 * panel_dwords, panel_dwords, w_planes, w.scale + n, std::min(group, w.n - n),
                  y + row * y_stride + n, y_stride});
    }
  });
}

}  // namespace lowbit::kernels
