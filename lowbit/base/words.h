#pragma once
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

// Words for people: plurals, excerpts, and text that may be shown on a terminal.
namespace lowbit {

/// "1 step", "2 steps". plural: where it is not singular + "s".
std::string counted(std::integral auto count, std::string_view singular, std::string_view plural = {}) {
  std::string text = std::to_string(count);
  text += ' ';
  text += count == 1 || plural.empty() ? singular : plural;
  if (count != 1 && plural.empty()) text += 's';
  return text;
}
/// The word alone, "step" or "steps", where the number is printed in another way.
std::string_view plural_s(double count);

/// Text as one line that a terminal can show: each run of control characters (C0, DEL, C1) becomes one space, each
/// ill-formed stretch of UTF-8 U+FFFD.
std::string one_line(std::string_view text);

/// Text of several lines that a terminal can show: as one_line, but line breaks and tabs stay.
std::string shown(std::string_view text);

/// At most `most` bytes of one_line(text), cut between characters; "..." says that something was cut.
std::string excerpt(std::string_view text, std::size_t most);

}  // namespace lowbit
