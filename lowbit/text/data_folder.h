#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "lowbit/files/token_shard.h"

namespace lowbit::text {

/// A data folder, opened (docs/reference/formats.md, "Data folder"): its description, shards and tokenizer are there
/// and belong together.
class DataFolder {
 public:
  /// throws Error(input): no data.json (a `lowbit data` that was stopped, or a copy of a part), a shard or tokenizer
  /// that is missing or is not the one that data.json describes, ids of another tokenizer.
  explicit DataFolder(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  const files::TokenShard& train() const { return *train_; }
  const files::TokenShard& valid() const { return *valid_; }
  /// Empty for ids that came without text.
  const std::filesystem::path& tokenizer_file() const { return tokenizer_file_; }

 private:
  std::filesystem::path path_, tokenizer_file_;
  std::unique_ptr<files::TokenShard> train_, valid_;
};

/// Refuses a model whose tokenizer is not the one that a shard's ids are of. Ids without a tokenizer (raw ids) and
/// model folders without one are known by their vocabulary alone: its size is checked. model   model folder; what: how
/// the message names it, as "--init" throws  Error(input)
void require_same_tokenizer(const files::TokenShard& shard, const std::filesystem::path& model, std::int64_t vocabulary,
                            std::string_view what);

}  // namespace lowbit::text
