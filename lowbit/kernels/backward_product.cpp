#include <algorithm>
#include <array>
#include <cassert>

#include "lowbit/base/aligned.h"
#include "lowbit/kernels/backward_form.h"
#include "lowbit/kernels/backward_tiles.h"

// How a product is cut. The contracted index goes in blocks of at most kBlockWords, so that the panels of a task stay
// in the second-level cache; blocks go in slabs whose packed operands fit the third-level cache, or what others leave
// of it. Per slab, B is packed by one round of tasks and multiplied by the next. A is packed either in the first round
// too (where its stored rows run along the free index, as for dW: every row is then read once, whole), or by the task
// that multiplies it (as for dX: a task takes all columns of some rows, and A never travels through memory in packed
// form). All of it depends on the shape alone, and each value of C is summed by one task per slab, in order.
namespace lowbit::kernels {
namespace {

constexpr std::size_t kBlockWords = 512;
constexpr std::size_t kPackedAtOnce = 256;  // free indices that one packing task takes

PackSource source_of(const BackwardOperand& x, bool contracted_first) {
  assert(!x.values != !x.codes && (!x.codes || x.grid));
  PackSource s{x.values, x.codes, 0, 0, x.stride, x.transposed != contracted_first, x.contracted_scale};
  if (x.codes) {
    s.code_factor = static_cast<float>(x.grid->multiplier());
    s.code_offset = static_cast<float>(x.grid->multiplier() * x.grid->lowest() + x.grid->addend());
  }
  return s;
}

/// One operand's panels over a slab: [block][panel].
struct Panels {
  PackSource source;
  std::size_t width, size;  ///< of a panel; of the free index
  std::size_t panel_stride;
  Word* words = nullptr;

  std::size_t count() const { return ceil_div(size, width); }
  std::size_t block_stride() const { return count() * panel_stride; }
  std::size_t chunk() const { return std::max<std::size_t>(1, kPackedAtOnce / width) * width; }
  std::size_t chunks() const { return ceil_div(size, chunk()); }
  void pack_chunk(const BackwardForm& form, std::size_t block, std::size_t k_begin, std::size_t k_count,
                  std::size_t index) const {
    const std::size_t begin = index * chunk();
    form.pack(source, {k_begin, k_count, begin, std::min(chunk(), size - begin), size}, width,
              words + block * block_stride() + begin / width * panel_stride, panel_stride);
  }
};

// From large to small, in panels of A and of B.
constexpr std::array kTiles{Tile{8, 16}, Tile{8, 8}, Tile{4, 8}, Tile{4, 4}, Tile{2, 4}, Tile{2, 2}};

Word* shared_memory(std::size_t words) {
  static thread_local Buffer<Word> buffer;
  buffer.resize(words);
  return buffer.data();
}
Word* task_memory(std::size_t words) {
  static thread_local Buffer<Word> buffer;
  buffer.resize(words);
  return buffer.data();
}

}  // namespace

void backward_product(Executor& executor, Precision precision, std::size_t m, std::size_t n, std::size_t k,
                      const BackwardOperand& a, const BackwardOperand& b, float* c, std::size_t c_stride,
                      bool accumulate) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate)
      for (std::size_t i = 0; i < m; ++i) std::fill_n(c + i * c_stride, n, 0.0f);
    return;
  }
  const BackwardForm& form = backward_form(precision);
  const std::size_t all_words = form.words(k), all_blocks = ceil_div(all_words, kBlockWords);
  const std::size_t block_words = ceil_div(all_words, all_blocks), block_k = block_words * form.pair;

  Panels left{source_of(a, false), form.tile_rows, m, BackwardForm::panel_words(block_words, form.tile_rows)};
  Panels right{source_of(b, true), form.tile_columns, n, BackwardForm::panel_words(block_words, form.tile_columns)};
  const bool share_left = left.source.along;
  const std::size_t block_size = right.block_stride() + (share_left ? left.block_stride() : 0);
  const std::size_t slab_blocks = std::clamp<std::size_t>(kSlabBytes / (block_size * sizeof(Word)), 1, all_blocks);
  right.words = shared_memory(slab_blocks * block_size);
  left.words = right.words + slab_blocks * right.block_stride();
  const Tile tile = choose_tile(kTiles, left.count(), right.count(), !share_left);
  const std::size_t row_tiles = ceil_div(left.count(), tile.rows), column_tiles = ceil_div(right.count(), tile.columns);

  for (std::size_t first = 0; first < all_blocks; first += slab_blocks) {
    const std::size_t blocks = std::min(slab_blocks, all_blocks - first);
    const auto k_begin = [&](std::size_t block) { return (first + block) * block_k; };
    const auto k_count = [&](std::size_t block) { return std::min(block_k, k - k_begin(block)); };

    const std::size_t right_chunks = right.chunks(), chunks = right_chunks + (share_left ? left.chunks() : 0);
    executor.parallel_for(blocks * chunks, [&](std::size_t task) {
      const std::size_t block = task / chunks, chunk = task % chunks;
      const bool is_right = chunk < right_chunks;
      (is_right ? right : left)
          .pack_chunk(form, block, k_begin(block), k_count(block), is_right ? chunk : chunk - right_chunks);
    });

    executor.parallel_for(row_tiles * column_tiles, [&](std::size_t task) {
      const std::size_t row_panel = task / column_tiles * tile.rows, column_panel = task % column_tiles * tile.columns;
      const std::size_t i = row_panel * left.width, j = column_panel * right.width;
      const std::size_t rows = std::min(tile.rows * left.width, m - i),
                        columns = std::min(tile.columns * right.width, n - j);
      Word* own = share_left ? nullptr : task_memory(tile.rows * left.panel_stride);
      for (std::size_t block = 0; block < blocks; ++block) {
        const Word* from = own;
        if (share_left)
          from = left.words + block * left.block_stride() + row_panel * left.panel_stride;
        else
          form.pack(left.source, {k_begin(block), k_count(block), i, rows, m}, left.width, own, left.panel_stride);
        form.product(form.words(k_count(block)), rows, columns, from, left.panel_stride,
                     right.words + block * right.block_stride() + column_panel * right.panel_stride, right.panel_stride,
                     c + i * c_stride + j, c_stride, !accumulate && first + block == 0);
      }
    });
  }
}

}  // namespace lowbit::kernels
