#include "lowbit/formats/layout.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <vector>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

constexpr std::uint8_t kNone = 255;

/// The stored form of an E2M1 code o + 12, and back.
constexpr auto kE2m1Stored = [] {
  std::array<std::uint8_t, 25> stored{};
  stored.fill(kNone);
  for (std::uint8_t m = 0; m < kE2m1Magnitudes.size(); ++m) {
    const auto o = static_cast<std::size_t>(kE2m1Magnitudes[m]);
    if (m > 0) stored[12 - o] = static_cast<std::uint8_t>(8 | m);
    stored[12 + o] = m;
  }
  return stored;
}();
constexpr auto kE2m1Code = [] {
  std::array<std::uint8_t, 16> code{};
  code.fill(kNone);
  for (std::uint8_t u = 0; u < kE2m1Stored.size(); ++u)
    if (kE2m1Stored[u] != kNone) code[kE2m1Stored[u]] = u;
  return code;
}();

/// Code of pair j of a group of 8 entries: 0, as stored or not.
bool is_pruned(const Grid& grid, const std::uint8_t* group, int pair) {
  const int zero = -grid.lowest();
  return group[2 * pair] == zero && group[2 * pair + 1] == zero;
}

}  // namespace

void pack_canonical(const Grid& grid, std::span<const std::uint8_t> codes, std::span<std::uint8_t> out) {
  assert(out.size() == canonical_row_bytes(grid, codes.size()));
  const int b = grid.storage_bits;
  if (b == 8) {
    std::copy(codes.begin(), codes.end(), out.begin());
    return;
  }
  std::uint32_t pending = 0;
  int filled = 0;
  std::size_t at = 0;
  const bool e2m1 = grid.cells == Cells::e2m1;
  for (const std::uint8_t u : codes) {
    assert(u < grid.levels);
    const std::uint8_t code = e2m1 ? kE2m1Stored[u] : u;
    assert(code != kNone);
    pending |= std::uint32_t{code} << filled;
    for (filled += b; filled >= 8; filled -= 8, pending >>= 8) out[at++] = static_cast<std::uint8_t>(pending);
  }
  if (filled > 0) out[at++] = static_cast<std::uint8_t>(pending);
}

void unpack_canonical(const Grid& grid, std::span<const std::uint8_t> packed, std::span<std::uint8_t> codes) {
  assert(packed.size() == canonical_row_bytes(grid, codes.size()));
  const int b = grid.storage_bits;
  const std::uint32_t mask = (1u << b) - 1;
  std::uint32_t pending = 0;
  int filled = 0;
  std::size_t at = 0, done = 0;
  std::uint8_t highest = 0;
  // Eight codes are b whole bytes, read as one word.
  for (; at + 8 <= packed.size() && done + 8 <= codes.size(); at += static_cast<std::size_t>(b), done += 8) {
    std::uint64_t word = 0;
    for (int i = 7; i >= 0; --i) word = word << 8 | packed[at + static_cast<std::size_t>(i)];
    for (int i = 0; i < 8; ++i) {
      const auto code = static_cast<std::uint8_t>(word >> (b * i) & mask);
      codes[done + static_cast<std::size_t>(i)] = code;
      highest = std::max(highest, code);
    }
  }
  for (std::uint8_t& code : codes.subspan(done)) {
    if (filled < b) {
      pending |= std::uint32_t{packed[at++]} << filled;
      filled += 8;
    }
    code = static_cast<std::uint8_t>(pending & mask);
    highest = std::max(highest, code);
    pending >>= b;
    filled -= b;
  }
  if (grid.cells == Cells::e2m1) {
    highest = 0;
    for (std::uint8_t& code : codes) {
      code = kE2m1Code[code];
      highest = std::max(highest, code);
    }
    if (highest == kNone)
      fail_input("a packed row of fp4 holds a negative zero (1000), which is never written; the file is damaged");
  }
  if (highest >= grid.levels)
    fail_input("a packed row of grid {} holds the code {}, which that grid does not have; the file is damaged",
               grid.name, highest);
}

void pack_stored(const Grid& grid, std::span<const std::uint8_t> codes, std::span<std::uint8_t> out) {
  if (!grid.dense) return pack_canonical(grid, codes, out);
  assert(codes.size() % 8 == 0 && out.size() == stored_row_bytes(grid, codes.size()));
  const std::size_t value_bytes = canonical_row_bytes(*grid.dense, codes.size() / 2);
  std::vector<std::uint8_t> survivors;
  survivors.reserve(codes.size() / 2);
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(value_bytes), out.end(), std::uint8_t{0});
  for (std::size_t g = 0; g < codes.size() / 8; ++g) {
    const std::uint8_t* group = codes.data() + 8 * g;
    unsigned nibble = 0;
    int kept = 0;
    for (int pair = 0; pair < 4; ++pair) {
      if (is_pruned(grid, group, pair)) continue;
      assert(kept < 2);
      nibble |= static_cast<unsigned>(pair) << 2 * kept++;
      // u is o + n - 1 = 2k + n: twice the dense code.
      for (const int i : {2 * pair, 2 * pair + 1}) survivors.push_back(static_cast<std::uint8_t>(group[i] / 2));
    }
    assert(kept == 2);
    out[value_bytes + g / 2] |= static_cast<std::uint8_t>(nibble << 4 * (g % 2));
  }
  pack_canonical(*grid.dense, survivors, out.first(value_bytes));
}

void unpack_stored(const Grid& grid, std::span<const std::uint8_t> packed, std::span<std::uint8_t> codes) {
  if (!grid.dense) return unpack_canonical(grid, packed, codes);
  assert(codes.size() % 8 == 0 && packed.size() == stored_row_bytes(grid, codes.size()));
  const std::size_t value_bytes = canonical_row_bytes(*grid.dense, codes.size() / 2);
  std::vector<std::uint8_t> survivors(codes.size() / 2);
  unpack_canonical(*grid.dense, packed.first(value_bytes), survivors);
  std::fill(codes.begin(), codes.end(), static_cast<std::uint8_t>(-grid.lowest()));
  for (std::size_t g = 0; g < codes.size() / 8; ++g) {
    const unsigned nibble = packed[value_bytes + g / 2] >> 4 * (g % 2) & 15u;
    const unsigned pairs[] = {nibble & 3u, nibble >> 2};
    if (pairs[0] >= pairs[1])
      fail_input(
          "a packed row of grid {} names the pairs {} and {} of entries {} to {}, which are not in ascending order; "
          "the "
          "file is damaged",
          grid.name, pairs[0], pairs[1], 8 * g, 8 * g + 7);
    for (std::size_t kept = 0; kept < 2; ++kept)
      for (std::size_t i = 0; i < 2; ++i)
        codes[8 * g + 2 * pairs[kept] + i] = static_cast<std::uint8_t>(2 * survivors[4 * g + 2 * kept + i]);
  }
}

}  // namespace lowbit
