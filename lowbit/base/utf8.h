#pragma once
#include <cstddef>
#include <string>
#include <string_view>

// UTF-8 as Unicode 15, table 3-7, defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
namespace lowbit {

/// Offset of the first byte that begins no well-formed character, or npos when the whole text is well-formed.
std::size_t first_invalid_utf8(std::string_view text);

/// How many bytes at the end of `text` begin a character that more bytes could complete: 0 to 3.
std::size_t unfinished_utf8(std::string_view text);

/// Bytes that a character takes by its first byte; 1 for a byte that begins none.
inline std::size_t utf8_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
/// Whether a byte continues a character, so that no cut may stand before it.
inline bool continues_utf8(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// Each maximal ill-formed stretch as one U+FFFD, for output that must be text (JSON, a page).
std::string replace_invalid_utf8(std::string_view text);

/// throws Error(input) that names `where` and the byte offset (plus `base`), unless the text is well-formed.
void require_utf8(std::string_view text, std::string_view where, std::size_t base = 0);

}  // namespace lowbit
