#include "lowbit/text/text_layout.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lowbit/base/error.h"
#include "lowbit/base/utf8.h"

namespace lowbit::text {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::size_t kMostZeros = 10;  // text has fewer zero bytes than one in so many

struct Signature {
  std::size_t at;
  std::string_view bytes;
  bool printable;  // a text may begin so: it counts only in a file that is binary further on
  std::string_view what, remedy;
};

constexpr std::string_view kToJsonLines =
    "write its text column as JSON lines, for example in Python with pandas: "
    "pandas.read_parquet(FILE).to_json(\"text.jsonl\", orient=\"records\", lines=True)";
constexpr std::string_view kArrow =
    "write its text column as JSON lines, for example in Python with pandas: "
    "pandas.read_feather(FILE).to_json(\"text.jsonl\", orient=\"records\", lines=True)";
constexpr std::string_view kUnpack = "unpack it first and give the text files in it";
constexpr std::string_view kExport = "save its text as a plain UTF-8 file";
constexpr std::string_view kModel = "give text";

constexpr Signature kSignatures[] = {
    {0, "PAR1"sv, true, "a Parquet table", kToJsonLines},
    {0, "PARE"sv, true, "an encrypted Parquet table", kToJsonLines},
    {0, "ARROW1"sv, true, "an Arrow or Feather table", kArrow},
    {0, "FEA1"sv, true, "a Feather table", kArrow},
    {0, "\xFF\xFF\xFF\xFF"sv, false, "an Arrow stream, or another binary file", kArrow},
    {0, "ORC"sv, true, "an ORC table", "write its text column as JSON lines"},
    {0, "Obj\1"sv, false, "an Avro file", "write its text field as JSON lines"},
    {0, "SQLite format 3\0"sv, false, "an SQLite database",
     "write the text as JSON lines, for example: sqlite3 FILE \"select json_object('text', COLUMN) from TABLE\""},
    {0, "PK\3\4"sv, false, "a zip archive (or a document of an office program)", kUnpack},
    {0, "PK\5\6"sv, false, "an empty zip archive", kUnpack},
    {257, "ustar"sv, true, "a tar archive", kUnpack},
    {0, "BZh"sv, true, "a bzip2 archive", "unpack it first, for example: bzip2 -dk FILE"},
    {0, "7z\xBC\xAF\x27\x1C"sv, false, "a 7z archive", kUnpack},
    {0, "Rar!\x1A\7"sv, false, "a rar archive", kUnpack},
    {0, "\x04\x22\x4D\x18"sv, false, "an lz4 archive", "unpack it first, for example: lz4 -d FILE"},
    {0, "\x1F\x8B"sv, false, "a gzip archive inside another archive", kUnpack},
    {0, "\x28\xB5\x2F\xFD"sv, false, "a zstd archive inside another archive", kUnpack},
    {0,
     "\xFD"
     "7zXZ\0"sv,
     false, "an xz archive inside another archive", kUnpack},
    {0, "\x1F\x9D"sv, false, "an archive of compress", "unpack it first, for example: uncompress FILE"},
    {0, "%PDF-"sv, false, "a PDF document", "convert it first, for example: pdftotext FILE text.txt"},
    {0, "{\\rtf"sv, false, "a rich text document", kExport},
    {0, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, false, "a document of an office program", kExport},
    {0, "\x89PNG"sv, false, "an image", kModel},
    {0, "\xFF\xD8\xFF"sv, false, "an image", kModel},
    {0, "GIF8"sv, true, "an image", kModel},
    {0,
     "\x7F"
     "ELF"sv,
     false, "a program", kModel},
    {0, "GGUF"sv, true, "a model of llama.cpp", kModel},
    {0, "\x93NUMPY"sv, false, "a NumPy array", "raw token ids are read by --tokens-u16 or --tokens-u32"},
    {0, "\x89HDF"sv, false, "an HDF5 file", kModel},
    {0, "LOWBITD1"sv, true, "a token shard of lowbit", "give the text that it was made from"},
};

/// Whether the bytes are no text: a zero byte, or what is not UTF-8 (a letter cut at the end aside).
bool is_binary(std::string_view start) {
  if (start.find('\0') != std::string_view::npos) return true;
  const std::size_t at = first_invalid_utf8(start);
  return at != std::string_view::npos && at + 4 < start.size();
}

void refuse_binary(std::string_view start, const std::string& where) {
  for (const Signature& s : kSignatures)
    if (start.size() >= s.at + s.bytes.size() && start.substr(s.at, s.bytes.size()) == s.bytes &&
        (!s.printable || is_binary(start)))
      fail_input("{} is {}, which is not read as text; {}", where, s.what, s.remedy);
}

void refuse_wide(std::string_view start, const std::string& where) {
  const auto refuse = [&](std::string_view what, std::string_view code) {
    fail_input("{} is {}, and text is read as UTF-8; convert it: iconv -f {} -t UTF-8 FILE", where, what, code);
  };
  if (start.starts_with("\xFF\xFE\0\0"sv)) refuse("UTF-32", "UTF-32");
  if (start.starts_with("\0\0\xFE\xFF"sv)) refuse("UTF-32", "UTF-32");
  if (start.starts_with("\xFF\xFE"sv) || start.starts_with("\xFE\xFF"sv)) refuse("UTF-16", "UTF-16");
  const std::size_t zero = start.find('\0');
  if (zero == std::string_view::npos) return;
  // Without a mark: European text in UTF-16 has a zero byte in every second place.
  std::size_t even = 0, odd = 0;
  const std::size_t looked = std::min<std::size_t>(start.size(), 256);
  for (std::size_t i = 0; i < looked; ++i)
    if (start[i] == '\0') ++(i % 2 ? odd : even);
  if (looked >= 4 && odd * 3 > looked && even == 0) refuse("UTF-16 without a mark, it seems", "UTF-16LE");
  if (looked >= 4 && even * 3 > looked && odd == 0) refuse("UTF-16 without a mark, it seems", "UTF-16BE");
  // U+0000 is a character like others, but texts have few.
  const auto zeros = static_cast<std::size_t>(std::count(start.begin(), start.end(), '\0'));
  if (zeros * kMostZeros > start.size())
    fail_input(
        "{}: {} of its first {} bytes are zero (the first is byte {}), so it is a binary file or damaged text; take "
        "them out "
        "(tr -d '\\000'), or give --input-format text to keep them",
        where, zeros, start.size(), zero);
}

bool is_value(std::string_view text) { return nlohmann::json::accept(text); }

/// Where the JSON text or object that `text` begins with ends; npos when it goes on behind it.
std::size_t end_of_element(std::string_view text) {
  std::size_t depth = 0;
  bool quoted = false, escaped = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (escaped)
        escaped = false;
      else if (c == '\\')
        escaped = true;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return i;
      --depth;
    }
    if (depth == 0 && !quoted) return i + 1;
  }
  return std::string_view::npos;
}

std::string_view after_blank(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  return text;
}

enum class Guess { no, yes, unclear };

/// Whether text, which begins with '[', begins like an array of texts or objects.
Guess begins_array(std::string_view text, bool whole) {
  text = after_blank(text.substr(1));
  if (text.empty()) return whole ? Guess::no : Guess::unclear;
  if (text[0] != '"' && text[0] != '{') return Guess::no;
  const std::size_t end = end_of_element(text);
  if (end == std::string_view::npos) return whole ? Guess::no : Guess::unclear;
  if (!is_value(text.substr(0, end))) return Guess::no;
  const std::string_view behind = after_blank(text.substr(end));
  if (behind.empty()) return Guess::unclear;
  return behind[0] == ',' || behind[0] == ']' ? Guess::yes : Guess::no;
}

}  // namespace

TextLayout parse_text_layout(std::string_view word) {
  if (word == "auto") return TextLayout::recognize;
  if (word == "text") return TextLayout::plain;
  if (word == "jsonl") return TextLayout::json_lines;
  if (word == "json") return TextLayout::json_array;
  fail_usage("--input-format {} is none of auto, text, jsonl and json", word);
}

TextLayout recognize_layout(std::string_view start, bool whole, std::string_view name, const std::string& where) {
  refuse_binary(start, where);
  refuse_wide(start, where);
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
  });
  const bool lines = lower.ends_with(".jsonl") || lower.ends_with(".ndjson");
  const bool json = lower.ends_with(".json");
  if (start.starts_with(kByteOrderMark)) start.remove_prefix(kByteOrderMark.size());
  const std::string_view text = after_blank(start);
  if (text.empty()) return lines ? TextLayout::json_lines : TextLayout::plain;

  if (text[0] == '[') {
    const Guess guess = begins_array(text, whole);
    if (guess == Guess::yes || json) return TextLayout::json_array;
    if (lines) return TextLayout::json_lines;
    if (guess == Guess::unclear)
      fail_input("{} begins like a JSON array; say what it is by --input-format json, or text for plain text", where);
    return TextLayout::plain;
  }
  if (text[0] == '{') {
    const std::size_t newline = text.find('\n');
    const bool line_whole = newline != std::string_view::npos || whole;
    if (lines || (line_whole && is_value(text.substr(0, newline)))) return TextLayout::json_lines;
    if (!line_whole && after_blank(text.substr(1)).starts_with('"')) return TextLayout::json_lines;
    if (json)
      fail_input(
          "{} holds a JSON object over several lines, which is no list of documents; write one object a line (jq -c "
          ".), or "
          "give --input-format text to take it as plain text",
          where);
    return TextLayout::plain;
  }
  if (lines) return TextLayout::json_lines;
  if (json)
    fail_input("{} is named .json but begins with neither [ nor {{; give --input-format text if it is plain text",
               where);
  return TextLayout::plain;
}

}  // namespace lowbit::text
