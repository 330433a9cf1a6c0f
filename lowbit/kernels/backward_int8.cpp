#include "lowbit/kernels/backward_int8.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "lowbit/base/aligned.h"
#include "lowbit/kernels/backward_int8_form.h"
#include "lowbit/kernels/backward_tiles.h"
#include "lowbit/machine/isa.h"

// Cut as backward_product.cpp cuts: blocks of the contracted index in slabs whose packed operands fit the third-level
// cache. Per slab, B is packed by one round of tasks and multiplied by the next. A gradient that is stored along its
// free index (for dW) is coded in the first round too, its stored rows read in long pieces; one that is stored along
// the contracted index (for dX) is coded by the task that multiplies it. All of it depends on the shape alone.
namespace lowbit::kernels {
namespace {

constexpr std::size_t kCodedAtOnce = 128;   // rows of A that one task codes
constexpr std::size_t kPackedAtOnce = 256;  // columns of B that one task packs
constexpr std::size_t kPanel = 16;          // rows or columns

// From large to small, in panels of A and of B.
constexpr std::array kTiles{Tile{4, 24}, Tile{4, 12}, Tile{2, 12}, Tile{2, 6}, Tile{1, 6}, Tile{1, 3}};

/// Packed operands of a slab, shared by all tasks; and a task's own codes of A.
struct Memory {
  Buffer<std::uint8_t> right;
  Buffer<std::int8_t> codes;
  Buffer<float> scale;
  Buffer<std::int32_t> sum;
  void make_room_for_rows(std::size_t rows, std::size_t bytes) {
    codes.resize(bytes);
    scale.resize(rows);
    sum.resize(rows);
  }
};
Memory& shared_memory() {
  static thread_local Memory memory;
  return memory;
}
Memory& task_memory() {
  static thread_local Memory memory;
  return memory;
}

}  // namespace

const Int8Form& int8_form() {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return forms::avx512_int8;
    case Isa::avx2:
      return forms::avx2_int8;
    case Isa::scalar:
      break;
  }
#endif
  return forms::plain_int8;
}

void backward_product_int8(Executor& executor, std::uint64_t key, std::size_t m, std::size_t n, std::size_t k,
                           const BackwardOperand& a, const BackwardOperand& b, float* c, std::size_t c_stride,
                           bool accumulate) {
  assert(a.values && !a.codes && b.codes && b.grid && !b.values && !b.transposed && !b.contracted_scale);
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate)
      for (std::size_t i = 0; i < m; ++i) std::fill_n(c + i * c_stride, n, 0.0f);
    return;
  }
  const Int8Form& form = int8_form();
  const Grid& grid = *b.grid;
  const std::size_t block_k = gradient_block(k), all_blocks = ceil_div(k, block_k), panel_bytes = block_k * kPanel;
  const bool share_left = a.transposed;
  const std::size_t row_panels = ceil_div(m, kPanel), column_panels = ceil_div(n, kPanel);
  const std::size_t right_bytes = column_panels * panel_bytes, left_bytes = row_panels * panel_bytes;
  const std::size_t slab_blocks =
      std::clamp<std::size_t>(kSlabBytes / (right_bytes + (share_left ? left_bytes : 0)), 1, all_blocks);
  Memory& shared = shared_memory();
  shared.right.resize(slab_blocks * right_bytes);
  if (share_left) shared.make_room_for_rows(slab_blocks * row_panels * kPanel, slab_blocks * left_bytes);
  const Tile tile = choose_tile(kTiles, row_panels, column_panels, !share_left);
  const std::size_t row_tiles = ceil_div(row_panels, tile.rows), column_tiles = ceil_div(column_panels, tile.columns);

  for (std::size_t first = 0; first < all_blocks; first += slab_blocks) {
    const std::size_t blocks = std::min(slab_blocks, all_blocks - first);
    const auto k_begin = [&](std::size_t block) { return (first + block) * block_k; };
    const auto k_count = [&](std::size_t block) { return std::min(block_k, k - k_begin(block)); };
    const auto source = [&](std::size_t block, std::size_t row, std::size_t rows) {
      return GradientSource{a.values, a.stride, a.contracted_scale, key, row, rows, k_begin(block), k_count(block)};
    };

    const std::size_t right_chunks = ceil_div(n, kPackedAtOnce);
    const std::size_t left_chunks = share_left ? ceil_div(m, kCodedAtOnce) : 0;
    const std::size_t chunks = right_chunks + left_chunks;
    executor.parallel_for(blocks * chunks, [&](std::size_t task) {
      const std::size_t block = task / chunks, chunk = task % chunks;
      if (chunk < right_chunks) {
        const std::size_t j = chunk * kPackedAtOnce;
        form.pack_codes({b.codes, b.stride, k_begin(block), k_count(block), j, std::min(kPackedAtOnce, n - j)},
                        shared.right.data() + block * right_bytes + j / kPanel * panel_bytes, panel_bytes);
        return;
      }
      const std::size_t i = (chunk - right_chunks) * kCodedAtOnce, at = block * row_panels * kPanel + i;
      form.code_columns(source(block, i, std::min(kCodedAtOnce, m - i)),
                        {shared.codes.data() + block * left_bytes + i / kPanel * panel_bytes, panel_bytes,
                         shared.scale.data() + at, shared.sum.data() + at});
    });

    executor.parallel_for(row_tiles * column_tiles, [&](std::size_t task) {
      const std::size_t row_panel = task / column_tiles * tile.rows, column_panel = task % column_tiles * tile.columns;
      const std::size_t i = row_panel * kPanel, j = column_panel * kPanel;
      Int8Block t{};
      t.rows = std::min(tile.rows * kPanel, m - i);
      t.columns = std::min(tile.columns * kPanel, n - j);
      t.by_rows = !share_left;
      t.a_panel_bytes = t.b_panel_bytes = panel_bytes;
      t.shift = grid.multiplier() - 1;
      t.offset = grid.multiplier() * grid.lowest() + grid.addend();
      t.wide = grid.levels > 128;
      t.c = c + i * c_stride + j;
      t.c_stride = c_stride;
      Memory& own = task_memory();
      if (!share_left) own.make_room_for_rows(tile.rows * kPanel, tile.rows * kPanel * kGradientBlock);
      for (std::size_t block = 0; block < blocks; ++block) {
        t.quads = ceil_div(k_count(block), 4);
        t.b = shared.right.data() + block * right_bytes + column_panel * panel_bytes;
        t.overwrite = !accumulate && first + block == 0;
        if (share_left) {
          t.a = shared.codes.data() + block * left_bytes + row_panel * panel_bytes;
          t.scale = shared.scale.data() + block * row_panels * kPanel + i;
          t.sum = shared.sum.data() + block * row_panels * kPanel + i;
        } else {
          // What this task codes next, or the task after those that the other threads hold.
          const bool last = block + 1 == blocks;
          const std::size_t row = last ? i + tile.rows * kPanel * static_cast<std::size_t>(executor.threads()) : i;
          t.ahead = row < m ? a.values + row * a.stride + k_begin(last ? 0 : block + 1) : nullptr;
          t.ahead_stride = a.stride;
          form.code_rows(source(block, i, t.rows), {own.codes.data(), 0, own.scale.data(), own.sum.data()});
          t.a = own.codes.data();
          t.scale = own.scale.data();
          t.sum = own.sum.data();
        }
        form.product(t);
      }
    });
  }
}

}  // namespace lowbit::kernels
