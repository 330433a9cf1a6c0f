#pragma once
#include <string>
#include <string_view>

// What lies in a text file, recognized by its bytes, so that JSON is not trained on with its braces, and a table or an
// archive not at all.
namespace lowbit::text {

enum class TextLayout {
  recognize,   ///< by content, then by name
  plain,       ///< text as it stands
  json_lines,  ///< a JSON object on each line
  json_array,  ///< one JSON array of texts or objects
};

/// "auto", "text", "jsonl", "json": what --input-format takes. throws Error(usage).
TextLayout parse_text_layout(std::string_view word);

/// How the file is to be read, from its first unpacked bytes. Never `recognize`.
/// start   up to some hundred kilobytes; whole: the file ends there.
/// name    its name without .gz and the like, in any case of letters; where: the file, for messages.
/// throws Error(input): a table, an archive or another binary file; UTF-16 or UTF-32; many zero bytes; JSON that is
/// neither lines of objects nor an array. Each message says what to do.
TextLayout recognize_layout(std::string_view start, bool whole, std::string_view name, const std::string& where);

/// U+FEFF, which some programs write before a text.
inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace lowbit::text
