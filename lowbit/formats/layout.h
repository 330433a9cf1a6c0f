#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "lowbit/formats/grid.h"

namespace lowbit {

/// Ids of the ways in which code matrices lie in files. An id fixes every byte (docs/formats.md); ids are never reused.
enum class LayoutId : std::uint32_t {
  canonical = 1,  ///< row-major; code u in bits b*i and up of its row, low bits first; rows padded to whole bytes with 0
};

/// Bytes of one row of K codes in the canonical layout.
constexpr std::size_t canonical_row_bytes(const Grid& grid, std::size_t k) {
  return (k * static_cast<std::size_t>(grid.storage_bits) + 7) / 8;
}

/// codes: K bytes, each below grid.levels; out: canonical_row_bytes.
void pack_canonical(const Grid& grid, std::span<const std::uint8_t> codes, std::span<std::uint8_t> out);
/// The reverse. throws Error(input) for a code that the grid does not have (the 3 of a ternary row).
void unpack_canonical(const Grid& grid, std::span<const std::uint8_t> packed, std::span<std::uint8_t> codes);

}  // namespace lowbit
