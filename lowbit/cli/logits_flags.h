#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lowbit/cli/command.h"

namespace lowbit::cli {

/// Flags of `logits`, the same for both engines.
struct LogitsFlags {
  CommonFlags common;
  std::filesystem::path model, ids, out;
  std::string engine = "run", kernel;
  int ids_bytes = 2;
  std::int64_t chunk = 64;
  std::int64_t window = 0;
};
void declare_logits(CLI::App& verb, LogitsFlags& flags);

/// The ids of a raw little-endian file. throws Error(input): a size that is no whole number of ids, an id outside the
/// vocabulary, or no whole number of windows.
std::vector<std::int32_t> read_ids(const LogitsFlags& flags, std::int64_t vocab);

/// Tokens of one sequence: --window, or the whole file. throws Error(usage or input): longer than the context.
std::size_t window_length(const LogitsFlags& flags, std::size_t ids, std::int64_t context);

}  // namespace lowbit::cli
