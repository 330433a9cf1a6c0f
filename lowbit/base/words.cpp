#include "lowbit/base/words.h"

#include "lowbit/base/utf8.h"

namespace lowbit {
namespace {

/// Whether a control character stands at `i` of well-formed text; its length.
std::size_t control_at(std::string_view text, std::size_t i) {
  const auto byte = static_cast<unsigned char>(text[i]);
  if (byte < 0x20 || byte == 0x7F) return 1;
  // U+0080 to U+009F: terminals take some of them for the start of a command.
  if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) return 2;
  return 0;
}

std::string without_controls(std::string_view raw, bool keep_lines) {
  const std::string text = replace_invalid_utf8(raw);
  std::string out;
  out.reserve(text.size());
  bool in_run = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = control_at(text, i);
    if (length == 0 || (keep_lines && (text[i] == '\n' || text[i] == '\t'))) {
      out += text[i++];
      in_run = false;
      continue;
    }
    if (!in_run) out += ' ';
    in_run = true;
    i += length;
  }
  return out;
}

}  // namespace

std::string_view plural_s(double count) { return count == 1 ? "" : "s"; }

std::string one_line(std::string_view text) { return without_controls(text, false); }

std::string shown(std::string_view text) { return without_controls(text, true); }

std::string excerpt(std::string_view text, std::size_t most) {
  constexpr std::string_view kCut = "...";
  // A character takes at most four bytes, and none becomes longer than three by being replaced.
  const bool long_text = text.size() > 4 * most + 4;
  std::string line = one_line(long_text ? text.substr(0, 4 * most + 4) : text);
  if (line.size() <= most && !long_text) return line;
  std::size_t end = most > kCut.size() ? most - kCut.size() : 0;
  end = std::min(end, line.size());
  while (end > 0 && end < line.size() && continues_utf8(line[end])) --end;
  line.resize(end);
  return line.append(kCut);
}

}  // namespace lowbit
