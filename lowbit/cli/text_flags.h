#pragma once
#include "lowbit/cli/command.h"
#include "lowbit/text/reader.h"

namespace lowbit::cli {

inline constexpr char kTextFilesHelp[] =
    "text files: plain text, JSON lines or a JSON array, recognized by content; .xz, .zst and .gz are unpacked";

/// How text files are read, the same way in every verb: --input-format, --field, --document-line, --max-line.
void add_text_reading(CLI::App& verb, text::ReadOptions& read);

}  // namespace lowbit::cli
