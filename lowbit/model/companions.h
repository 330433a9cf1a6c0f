#pragma once
#include <array>
#include <filesystem>
#include <string_view>
#include <vector>

namespace lowbit::model {

/// Files beside config.json and the weights that say how text becomes ids and where it ends. Whoever writes a model
/// folder from another carries them over.
inline constexpr std::array<std::string_view, 8> kCompanionFiles{
    "tokenizer.model",   "tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json",    "generation_config.json"};

/// Those that `folder` holds; where it has no tokenizer.model, also the one vocabulary of llama2.c (tok*.bin).
std::vector<std::filesystem::path> companions(const std::filesystem::path& folder);

}  // namespace lowbit::model
