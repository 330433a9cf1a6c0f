#include "lowbit/formats/layout.h"

#include <algorithm>
#include <cassert>

#include "lowbit/base/error.h"

namespace lowbit {

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
  for (const std::uint8_t code : codes) {
    assert(code < grid.levels);
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
  if (highest >= grid.levels)
    fail_input("a packed row of grid {} holds the code {}, which that grid does not have; the file is damaged", grid.name,
               highest);
}

}  // namespace lowbit
