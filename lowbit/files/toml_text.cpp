#include "lowbit/files/toml_text.h"

#include <algorithm>

#include "lowbit/base/error.h"

namespace lowbit::files {
namespace {

constexpr int kMaxParts = 32, kMaxBrackets = 32;

/// The size of the string that `text` begins with, quotes included; all of the text when it is not closed.
std::size_t string_size(std::string_view text) {
  const char quote = text[0];
  const bool long_one = text.size() >= 3 && text[1] == quote && text[2] == quote;
  const std::size_t quotes = long_one ? 3 : 1;
  for (std::size_t i = quotes; i < text.size(); ++i) {
    if (text[i] == '\\' && quote == '"') {
      ++i;
    } else if (!long_one && text[i] == '\n') {
      return i;
    } else if (text[i] == quote && (!long_one || text.substr(i).starts_with(text.substr(0, 3)))) {
      return i + quotes;
    }
  }
  return text.size();
}

void check_depth(std::string_view text, std::string_view where) {
  int dots = 0, brackets = 0;
  std::size_t line = 1;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      const std::size_t size = string_size(text.substr(i));
      line += static_cast<std::size_t>(std::ranges::count(text.substr(i, size), '\n'));
      i += size;
      continue;
    }
    if (c == '#') {
      i = std::min(text.find('\n', i), text.size());
      continue;
    }
    if (c == '\n') ++line;
    if (c == '.') ++dots;
    if (c == '[' || c == '{') ++brackets;
    if ((c == ']' || c == '}') && brackets > 0) --brackets;
    // What no key has in it ends one.
    if (c == '\n' || c == '=' || c == ',' || c == '[' || c == ']' || c == '{' || c == '}') dots = 0;
    if (dots >= kMaxParts) fail_input("{}:{}: a key of more than {} parts", where, line, kMaxParts);
    if (brackets > kMaxBrackets) fail_input("{}:{}: brackets nested more than {} deep", where, line, kMaxBrackets);
    ++i;
  }
}

}  // namespace

toml::table parse_toml(std::string_view text, const std::string& where) {
  if (text.size() > kMaxTomlBytes) fail_input("{}: more than {} bytes of TOML", where, kMaxTomlBytes);
  check_depth(text, where);
  try {
    return toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    fail_input("{}:{}: no valid TOML: {}", where, error.source().begin.line, error.description());
  } catch (const std::exception& error) {
    fail_input("{}: no valid TOML: {}", where, error.what());
  }
}

}  // namespace lowbit::files
