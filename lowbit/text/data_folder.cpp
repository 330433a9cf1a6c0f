#include "lowbit/text/data_folder.h"

#include <optional>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/hash.h"
#include "lowbit/files/json.h"
#include "lowbit/text/dataset.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::text {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMakeAgain = "make the folder again with lowbit data --force";

std::unique_ptr<files::TokenShard> open_shard(const fs::path& folder, const char* file, const char* key,
                                              const files::Json& record, const std::string& where) {
  const auto entry = record.find(key);
  if (entry == record.end() || !entry->is_object()) fail_input("{} does not describe {}; {}", where, file, kMakeAgain);
  auto shard = std::make_unique<files::TokenShard>(folder / file);
  const auto wanted = files::required<std::string>(*entry, "header_hash", where);
  if (hash_text(shard->header_hash()) != wanted)
    fail_input("{} is not the shard that {} describes, so the folder mixes two texts; {}", shard->path(), where,
               kMakeAgain);
  return shard;
}

/// The tokenizer of a model folder; nothing where it has none that this program reads.
std::optional<Tokenizer> tokenizer_of(const fs::path& folder) {
  std::error_code error;
  bool there = fs::exists(folder / kTokenizerFile, error);
  for (fs::directory_iterator it(folder, error), end; !there && !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    there = name.starts_with("tok") && name.ends_with(".bin");
  }
  if (!there) return std::nullopt;
  return Tokenizer::load(folder);
}

}  // namespace

DataFolder::DataFolder(const fs::path& folder) : path_(folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    fail_input("{} is no data folder; name one that lowbit data made", folder.string());
  const fs::path file = folder / kDataRecord;
  const std::string where = file.string();
  if (!fs::exists(file, error))
    fail_input("{} holds no {}, so its data was never finished or is copied in part; {}", folder.string(), kDataRecord,
               kMakeAgain);
  const files::Json record = files::read_json(file);
  files::require_object(record, where);
  train_ = open_shard(folder, kTrainShard, "train", record, where);
  valid_ = open_shard(folder, kValidShard, "valid", record, where);
  const std::uint64_t hash = train_->counts().tokenizer_hash;
  if (valid_->counts().tokenizer_hash != hash || valid_->counts().vocabulary != train_->counts().vocabulary)
    fail_input("{} and {} hold ids of two tokenizers; {}", train_->path(), valid_->path(), kMakeAgain);
  const auto tokenizer = record.find("tokenizer");
  const bool described = tokenizer != record.end() && tokenizer->is_object();
  const bool there = fs::exists(folder / kTokenizerFile, error);
  if (described != (hash != 0))
    fail_input("{} and the shards disagree about whether there is a tokenizer; {}", where, kMakeAgain);
  if (hash == 0) {
    if (there)
      fail_input("{} holds ids without text, and a {} that they are not known to be of; remove it", folder.string(),
                 kTokenizerFile);
    return;
  }
  if (!there)
    fail_input("{} holds no {}, which its ids are of; copy it there, or {}", folder.string(), kTokenizerFile,
               kMakeAgain);
  tokenizer_file_ = folder / kTokenizerFile;
  if (hash_bytes(FileMap(tokenizer_file_).bytes()) != hash)
    fail_input("{} is not the tokenizer that the ids beside it are of; {}", tokenizer_file_.string(), kMakeAgain);
}

void require_same_tokenizer(const files::TokenShard& shard, const fs::path& model, std::int64_t vocabulary,
                            std::string_view what) {
  if (static_cast<std::int64_t>(shard.counts().vocabulary) > vocabulary)
    fail_input("{} has {} ids, but {} {} a vocabulary of {}; name the data that it was trained on", shard.path(),
               shard.counts().vocabulary, what, model.string(), vocabulary);
  if (shard.counts().tokenizer_hash == 0) return;
  const auto tokenizer = tokenizer_of(model);
  if (!tokenizer || tokenizer->hash() == shard.counts().tokenizer_hash) return;
  fail_input("{} holds ids of another tokenizer (hash {}) than that of {} {} (hash {}); make the data again with its "
             "tokenizer: lowbit data --tokenizer {}",
             shard.path(), hash_text(shard.counts().tokenizer_hash), what, model.string(), hash_text(tokenizer->hash()),
             model.string());
}

}  // namespace lowbit::text
