#pragma once
#include <cstdint>
#include <filesystem>

#include "lowbit/base/executor.h"

namespace lowbit::compress {

struct PackSummary {
  std::int64_t bytes_before = 0, bytes_after = 0;  ///< of model.safetensors
  std::int64_t coded_weights = 0, coded_bytes = 0; ///< weights that became codes, and their bytes with scales
};

/// Writes the packed form of a model folder: the same folder, each coded tensor X.weight as X.weight.codes (canonical
/// layout) and X.weight.scale (h), the head in its own format (docs/reference/formats.md, "Packed model"). What is
/// computed with stays the same, bit for bit. Plain f32 and bf16 folders have nothing to code and are refused. out a
/// folder that does not exist or is empty; appears whole or not at all. throws Error(input, usage, failed).
PackSummary pack(Executor& executor, const std::filesystem::path& model, const std::filesystem::path& out);

}  // namespace lowbit::compress
