#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace lowbit::report {

/// The same text with every byte that is not part of well-formed UTF-8 replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

/// Text made safe inside an HTML or SVG element or a quoted attribute: & < > " ' escaped, invalid UTF-8 replaced,
/// control characters other than tab and line feed shown as their pictures (U+2400 and up).
std::string escape(std::string_view text);

/// A number with that many significant digits in plain notation: "3.142", "0.0006", "12 500". Below 1e-4 and from
/// 1e7 on with a power of ten: "6e-5". Trailing zeros stay, so that columns agree. "–" when not finite.
std::string number(double value, int digits = 4);

/// An integer with its thousands set apart by narrow spaces: "3 276 800".
std::string grouped(std::int64_t value);

/// A share as a percentage: 0.0312 gives "3.1 %", 0.5 gives "50 %". "–" when not finite.
std::string percent(double share);

/// Coordinates for SVG: at most two decimals, no trailing zeros, never "-0". Not finite gives "0".
std::string coordinate(double value);

}  // namespace lowbit::report
