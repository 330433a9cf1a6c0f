#include "lowbit/base/number.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

namespace lowbit {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::int64_t kFarExponent = 100'000;  // beyond what decides anything
constexpr std::size_t kMostDigits = 25;         // below 2^84, so that 40 binary places more still fit

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The parts of a number. Digits are kept without their point; ten_power says where it is.
struct Parts {
  bool negative = false;
  std::string digits;           ///< without zeros at either end; empty: 0
  std::int64_t ten_power = 0;   ///< value = digits * 10^ten_power * 2^two_power
  int two_power = 0;
};

/// Digits with single underscores between them. Returns how many characters they take.
std::size_t take_digits(std::string_view text, std::string& digits) {
  std::size_t i = 0;
  while (i < text.size()) {
    if (is_digit(text[i])) {
      digits += text[i++];
    } else if (text[i] == '_' && i > 0 && is_digit(text[i - 1]) && i + 1 < text.size() && is_digit(text[i + 1])) {
      ++i;
    } else {
      break;
    }
  }
  return i;
}

/// Empties `text` when it is a suffix as a whole.
void take_suffix(std::string_view& text, Parts& parts) {
  if (text.empty() || text.size() > 2 || (text.size() == 2 && text[1] != 'i')) return;
  constexpr std::string_view kLetters = "kmgt";
  const char letter = static_cast<char>(text[0] | 0x20);
  std::size_t power = letter == 'b' && text.size() == 1 ? 2 : kLetters.find(letter);
  if (power == std::string_view::npos) return;
  ++power;
  if (text.size() == 2)
    parts.two_power = static_cast<int>(10 * power);
  else
    parts.ten_power += static_cast<std::int64_t>(3 * power);
  text = {};
}

std::optional<Parts> parts_of(std::string_view text, bool suffixes) {
  Parts parts;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    parts.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  text.remove_prefix(take_digits(text, parts.digits));
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t before = parts.digits.size();
    text.remove_prefix(take_digits(text, parts.digits));
    parts.ten_power -= static_cast<std::int64_t>(parts.digits.size() - before);
  }
  if (parts.digits.empty()) return std::nullopt;
  if (!text.empty() && (text[0] | 0x20) == 'e') {
    std::string_view rest = text.substr(1);
    const bool down = rest.starts_with('-');
    if (down || rest.starts_with('+')) rest.remove_prefix(1);
    std::int64_t exponent = 0;
    const char* const end = rest.data() + rest.size();
    if (rest.empty() || !is_digit(rest[0])) return std::nullopt;
    const auto [after, error] = std::from_chars(rest.data(), end, exponent);
    if (error != std::errc() || exponent > kFarExponent) exponent = kFarExponent;
    parts.ten_power += down ? -exponent : exponent;
    text = {after, static_cast<std::size_t>(end - after)};
  }
  if (suffixes) take_suffix(text, parts);
  if (!text.empty()) return std::nullopt;
  parts.digits.erase(0, std::min(parts.digits.find_first_not_of('0'), parts.digits.size()));
  while (!parts.digits.empty() && parts.digits.back() == '0') {
    parts.digits.pop_back();
    ++parts.ten_power;
  }
  return parts;
}

}  // namespace

Whole parse_whole(std::string_view text) {
  const std::optional<Parts> parts = parts_of(text, true);
  if (!parts) return {};
  Whole whole;
  whole.kind = Whole::Kind::number;
  whole.negative = parts->negative && !parts->digits.empty();
  if (parts->digits.empty()) return whole;
  constexpr Wide kMost = std::numeric_limits<std::uint64_t>::max();
  std::int64_t power = parts->ten_power;
  if (parts->digits.size() > kMostDigits) {
    if (power < 0)
      whole.kind = Whole::Kind::fraction;
    else
      whole.overflow = true;
    return whole;
  }
  Wide value = 0;
  for (const char c : parts->digits) value = value * 10 + static_cast<unsigned>(c - '0');
  value <<= parts->two_power;
  for (; power < 0; ++power) {
    if (value % 10 != 0) {
      whole.kind = Whole::Kind::fraction;
      return whole;
    }
    value /= 10;
  }
  for (; power > 0 && value <= kMost; --power) value *= 10;
  whole.overflow = value > kMost;
  whole.magnitude = whole.overflow ? 0 : static_cast<std::uint64_t>(value);
  return whole;
}

std::optional<double> parse_real(std::string_view text, bool suffixes) {
  const std::optional<Parts> parts = parts_of(text, suffixes);
  if (!parts) return std::nullopt;
  if (parts->digits.empty()) return parts->negative ? -0.0 : 0.0;
  const std::string plain = parts->digits + "e" + std::to_string(parts->ten_power);
  double value = 0;
  if (std::from_chars(plain.data(), plain.data() + plain.size(), value).ec != std::errc()) return std::nullopt;
  value = std::ldexp(value, parts->two_power);
  if (!std::isfinite(value)) return std::nullopt;
  return parts->negative ? -value : value;
}

}  // namespace lowbit
