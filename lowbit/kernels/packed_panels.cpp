#include "lowbit/kernels/packed_panels.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <vector>

#include "lowbit/formats/layout.h"

namespace lowbit::kernels {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint64_t kBytes = 0x0101010101010101, kWords = 0x0001000100010001;  // a 1 in each
constexpr std::uint64_t ones(int bits) { return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1; }

// Eight codes of 16 outputs, a byte each.
using Eight = std::uint64_t[16];

// Eight codes of b bits side by side, to a byte each: halves apart, three times.
template <int Bits>
void spread(Eight& e) {
  if constexpr (Bits == 8) return;
  for (std::uint64_t& x : e) {
    x = (x & ones(4 * Bits)) | (x & ones(4 * Bits) << 4 * Bits) << (32 - 4 * Bits);
    constexpr std::uint64_t pair = ones(2 * Bits) | ones(2 * Bits) << 32;
    x = (x & pair) | (x & pair << 2 * Bits) << (16 - 2 * Bits);
    constexpr std::uint64_t one = ones(Bits) * kWords;
    x = (x & one) | (x & one << Bits) << (8 - Bits);
  }
}

// The block's 32 codes of 16 outputs (codes[g][j]: codes 8g .. 8g+7 of output j) to their places.
template <int Bits>
void store_block(const Eight (&codes)[4], std::uint8_t* block) {
  std::uint32_t quads[8][16];
  for (int g = 0; g < 4; ++g)
    for (int j = 0; j < 16; ++j) {
      quads[2 * g][j] = static_cast<std::uint32_t>(codes[g][j]);
      quads[2 * g + 1][j] = static_cast<std::uint32_t>(codes[g][j] >> 32);
    }
  constexpr CodeFields fields = code_fields(Bits);
  std::uint32_t out[Bits][16] = {};
#pragma GCC unroll 3
  for (int f = 0; f < fields.count; ++f) {
    const int bits = fields.bits[f], per_vector = 8 / bits;
    const auto mask = static_cast<std::uint32_t>(kBytes * ones(bits));
#pragma GCC unroll 8
    for (int q = 0; q < 8; ++q)
      for (int j = 0; j < 16; ++j)
        out[fields.vector[f] + q / per_vector][j] |= (quads[q][j] >> fields.low[f] & mask) << bits * (q % per_vector);
  }
  std::memcpy(block, out, sizeof(out));
}

// Where rows of codes lie: bytes (CodedRows), or packed to the grid's bits (canonical).
struct Source {
  const std::uint8_t* rows;
  std::size_t stride, size;  // in bytes, of a row and of all
  bool packed;
};

// Returns whether all codes are among the grid's levels.
template <int Bits>
bool build_panel(const Grid& grid, const Source& source, std::size_t k, std::size_t first, std::size_t rows,
                 std::uint8_t* panel, std::int32_t* sum) {
  const int width = source.packed ? Bits : 8;
  const std::size_t bytes = 4 * static_cast<std::size_t>(width);  // of 32 codes of a row
  std::uint64_t unknown = 0;
  std::fill_n(sum, 16, 0);
  for (std::size_t block = 0; block < packed_blocks(k); ++block, panel += 64 * Bits) {
    if (32 * block >= k) {
      std::memset(panel, 0, 64 * Bits);
      continue;
    }
    const std::size_t left = std::min<std::size_t>(32, k - 32 * block);
    Eight codes[4] = {};
    for (std::size_t j = 0; j < rows; ++j) {
      const std::size_t at = (first + j) * source.stride + block * bytes;
      const std::uint8_t* from = source.rows + at;
      std::uint8_t tail[40];
      // What follows a row's last code is not trusted, and what follows the last row is not ours to read.
      if (left < 32 || at + bytes + 8 > source.size) {
        const std::size_t bits = left * static_cast<std::size_t>(width);
        std::memset(tail, 0, sizeof(tail));
        std::memcpy(tail, from, (bits + 7) / 8);
        if (bits % 8) tail[bits / 8] &= static_cast<std::uint8_t>(ones(static_cast<int>(bits % 8)));
        from = tail;
      }
      for (std::size_t g = 0; g < 4; ++g) std::memcpy(&codes[g][j], from + g * static_cast<std::size_t>(width), 8);
    }
    if (source.packed)
      for (Eight& e : codes) spread<Bits>(e);
    Eight words = {};  // sums in 16 bits: 8 of at most 255
    for (const Eight& e : codes)
      for (int j = 0; j < 16; ++j) words[j] += (e[j] & 255 * kWords) + (e[j] >> 8 & 255 * kWords);
    for (int j = 0; j < 16; ++j) sum[j] += static_cast<std::int32_t>(words[j] * kWords >> 48);
    if (grid.levels == 3)
      for (const Eight& e : codes)
        for (int j = 0; j < 16; ++j) unknown |= e[j] & e[j] >> 1 & kBytes;
    store_block<Bits>(codes, panel);
  }
  return unknown == 0;
}

using BuildPanel = decltype(&build_panel<1>);
constexpr BuildPanel kBuildPanel[] = {nullptr,         &build_panel<1>, &build_panel<2>,
                                      &build_panel<3>, &build_panel<4>, &build_panel<5>,
                                      &build_panel<6>, &build_panel<7>, &build_panel<8>};

void build(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const Source& source, const float* scale,
           PackedPanels& panels) {
  assert(grid.plain() && (grid.levels == 3 || grid.levels == 1 << grid.storage_bits));
  const std::size_t count = (n + 15) / 16;
  panels.grid = &grid;
  panels.n = n;
  panels.k = k;
  panels.data.resize(count * panels.panel_bytes(), Pages::shared);
  panels.sum.resize(count * 16);
  panels.scale.resize(count * 16);
  executor.parallel_for(count, [&](std::size_t p) {
    const std::size_t first = 16 * p, rows = std::min<std::size_t>(16, n - first);
    for (std::size_t j = 0; j < 16; ++j) panels.scale[first + j] = j < rows ? scale[first + j] : 0.0f;
    const bool known = kBuildPanel[grid.storage_bits](
        grid, source, k, first, rows, panels.data.data() + p * panels.panel_bytes(), panels.sum.data() + first);
    if (known) return;
    assert(source.packed);
    std::vector<std::uint8_t> codes(k);
    for (std::size_t row = first; row < first + rows; ++row)  // throws, and says what it found
      unpack_canonical(grid, {source.rows + row * source.stride, source.stride}, codes);
  });
}

}  // namespace

std::size_t PackedPanels::panel_bytes() const {
  return packed_blocks(k) * 64 * static_cast<std::size_t>(grid->storage_bits);
}

void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                 PackedPanels& panels) {
  build(executor, grid, n, k, {weights.codes, code_stride(k), n * code_stride(k), false}, weights.scale, panels);
}

void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k,
                 std::span<const std::uint8_t> canonical, std::span<const float> scale, PackedPanels& panels) {
  const std::size_t stride = canonical_row_bytes(grid, k);
  assert(canonical.size() == n * stride && scale.size() == n);
  build(executor, grid, n, k, {canonical.data(), stride, canonical.size(), true}, scale.data(), panels);
}

}  // namespace lowbit::kernels
