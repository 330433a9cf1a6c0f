#include "lowbit/base/utf8.h"

#include <cstdint>
#include <cstring>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

/// What stands at the start of `text`: a whole character (complete, its length), the beginning of one (its bytes so
/// far), or an ill-formed stretch (its length, at least 1).
struct Step {
  std::size_t length;
  enum { complete, unfinished, invalid } kind;
};

Step step(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, Step::complete};
  if (lead < 0xC2 || lead > 0xF4) return {1, Step::invalid};
  const std::size_t length = utf8_length(text[0]);
  // The second byte's range keeps out overlong forms, surrogates and what lies above U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, Step::unfinished};
    const bool good = i == 1 ? byte(1) >= low && byte(1) <= high : continues_utf8(text[i]);
    if (!good) return {i, Step::invalid};
  }
  return {length, Step::complete};
}

}  // namespace

std::size_t first_invalid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    // Eight ASCII bytes at a time, which is most of most text.
    std::uint64_t word;
    while (text.size() - i >= sizeof(word)) {
      std::memcpy(&word, text.data() + i, sizeof(word));
      if (word & 0x8080808080808080ull) break;
      i += sizeof(word);
    }
    if (i == text.size()) break;
    const Step s = step(text.substr(i));
    if (s.kind != Step::complete) return i;
    i += s.length;
  }
  return std::string_view::npos;
}

std::size_t unfinished_utf8(std::string_view text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    if (continues_utf8(tail[0])) continue;
    const Step s = step(tail);
    return s.kind == Step::unfinished && s.length == back ? back : 0;
  }
  return 0;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Step s = step(text);
    if (s.kind == Step::complete)
      out.append(text.substr(0, s.length));
    else
      out.append("\uFFFD");
    text.remove_prefix(s.length);
  }
  return out;
}

void require_utf8(std::string_view text, std::string_view where, std::size_t base) {
  const std::size_t at = first_invalid_utf8(text);
  if (at == std::string_view::npos) return;
  fail_input("{}: byte {} (0x{:02x}) is not UTF-8; convert the text, for example with iconv -t UTF-8", where, base + at,
             static_cast<unsigned char>(text[at]));
}

}  // namespace lowbit
