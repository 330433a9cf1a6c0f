#pragma once
#include <cstdint>
#include <filesystem>

#include "lowbit/text/prompt.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::cli {

/// The tokenizer that a model folder's text is read with: its own, or the one that --tokenizer names (a file, or a
/// folder that holds one). Where it has one too, the named one is taken if it has as many pieces, with a line on
/// standard error. vocabulary   of the model: no tokenizer may have more pieces. throws Error(input): none, or one that
/// does not fit.
text::Tokenizer model_tokenizer(const std::filesystem::path& model, const std::filesystem::path& named,
                                std::int64_t vocabulary);
/// The same with the special tokens of the folder that the tokenizer lies in; of the model's where a file is named.
text::PromptReader open_prompt_reader(const std::filesystem::path& model, const std::filesystem::path& named,
                                      std::int64_t vocabulary);

}  // namespace lowbit::cli
