#include "lowbit/report/text.h"

#include <fmt/format.h>

#include <cmath>

namespace lowbit::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kNarrowSpace = "\xE2\x80\xAF";  // U+202F, does not break
constexpr std::string_view kNone = "–";

// Length of the well-formed sequence at the start of text, or 0 (Unicode 15, table 3-7).
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF)
    return tail(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF) && tail(2) ? 3 : 0;
  if (lead >= 0xF0 && lead <= 0xF4)
    return tail(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

template <class Emit>
void for_each_sequence(std::string_view text, Emit emit) {
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    emit(length ? text.substr(0, length) : kReplacement);
    text.remove_prefix(length ? length : 1);
  }
}

std::string group_digits(std::string_view digits) {
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += kNarrowSpace;
    out += digits[i];
  }
  return out;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_sequence(text, [&](std::string_view s) { out += s; });
  return out;
}

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for_each_sequence(text, [&](std::string_view s) {
    const auto c = static_cast<unsigned char>(s[0]);
    if (s.size() > 1) {
      out += s;
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (c == 0x7F) {
      out += "\xE2\x90\xA1";
    } else if (c < 0x20 && c != '\n' && c != '\t') {
      out += "\xE2\x90";
      out += static_cast<char>(0x80 + c);
    } else {
      out += s[0];
    }
  });
  return out;
}

std::string number(double value, int digits) {
  if (!std::isfinite(value)) return std::string(kNone);
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size < 1e-4 || size >= 1e7) {
    std::string text = fmt::format("{:.{}e}", value, digits - 1);  // "6.00e-05" becomes "6e-5"
    const std::size_t e = text.find('e');
    std::string mantissa = text.substr(0, e);
    if (mantissa.find('.') != std::string::npos) {
      while (mantissa.back() == '0') mantissa.pop_back();
      if (mantissa.back() == '.') mantissa.pop_back();
    }
    return fmt::format("{}e{}", mantissa, std::stoi(text.substr(e + 1)));
  }
  int whole = 0;  // digits before the point, negative or 0 for a leading "0.00"
  for (double x = size; x >= 1; x /= 10) ++whole;
  for (double x = size * 10; x < 1 && whole > -4; x *= 10) --whole;
  const int decimals = std::max(0, digits - whole);
  std::string text = fmt::format("{:.{}f}", size, decimals);
  const std::size_t point = std::min(text.find('.'), text.size());
  std::string head = text.substr(0, point);
  if (head.size() > 4) head = group_digits(head);
  return (value < 0 ? "−" : "") + head + text.substr(point);
}

std::string grouped(std::int64_t value) {
  const std::string text = fmt::format("{}", value);
  const bool negative = text[0] == '-';
  return (negative ? "−" : "") + group_digits(std::string_view(text).substr(negative ? 1 : 0));
}

std::string percent(double share) {
  if (!std::isfinite(share)) return std::string(kNone);
  const double p = 100 * share;
  const double size = std::abs(p);
  if (p == 0) return "0 %";
  if (size < 0.01) return p > 0 ? "< 0.01 %" : "> −0.01 %";
  return fmt::format("{:.{}f} %", p, size < 0.995 ? 2 : size < 9.95 ? 1 : 0);
}

std::string coordinate(double value) {
  if (!std::isfinite(value)) return "0";
  std::string text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

}  // namespace lowbit::report
