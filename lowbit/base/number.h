#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

// Numbers as people type them: 500, 64k, 2.5M, 1e6, 4Ki, 1_000. One syntax for flags, lists, CSV files and TOML
// (docs/reference/command-line.md, "Numbers").
namespace lowbit {

/// A whole number of any size, or why the text is none.
struct Whole {
  enum class Kind {
    number,     ///< magnitude and negative hold it, unless overflow
    fraction,   ///< a number, but no whole one: 2.5, 0.0001k
    no_number,  ///< anything else: abc, nan, 0x10, 1,000, an empty text
  };
  Kind kind = Kind::no_number;
  bool negative = false;
  bool overflow = false;  ///< the magnitude needs more than 64 bits
  std::uint64_t magnitude = 0;
};

/// Decimal digits, with single underscores between them; then a fraction, an exponent and a suffix, each optional.
/// Suffixes multiply by powers of 1000 (k, M, G or B, T, in either case) or 1024 (Ki, Mi, Gi, Ti). Exact: 2.5M is
/// 2500000, and 1.0001k a fraction.
Whole parse_whole(std::string_view text);

/// A finite number in decimal, with an exponent or not; with `suffixes` those of parse_whole too. Nothing for any other
/// text: nan, inf, hexadecimal, 1e400, which no double holds.
std::optional<double> parse_real(std::string_view text, bool suffixes = false);

}  // namespace lowbit
