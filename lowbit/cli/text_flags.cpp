#include "lowbit/cli/text_flags.h"

#include <memory>

namespace lowbit::cli {

void add_text_reading(CLI::App& verb, text::ReadOptions& read) {
  const auto format = std::make_shared<std::string>("auto");
  add_choice(verb, "--input-format", *format, {"auto", "text", "jsonl", "json"},
             "what the text files are: plain text, JSON lines, a JSON array; auto recognizes it")
      ->each([&read, format](const std::string& word) { read.layout = text::parse_text_layout(word); });
  add_option(verb, "--field", read.field, "of JSON objects: the field with the text")->type_name("NAME");
  add_option(verb, "--document-line", read.document_line,
             "line that separates documents of plain text, such as '<|endoftext|>'")
      ->default_str("a file is one document");
  add_option(verb, "--max-line", read.most_bytes, {1, std::int64_t{1} << 31},
             "longest line of JSON, or stretch of text without a place to cut it, in bytes");
}

}  // namespace lowbit::cli
