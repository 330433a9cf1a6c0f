#include "lowbit/text/dataset_record.h"

#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/hash.h"

namespace lowbit::text {
namespace {

files::Json shard_entry(const char* file, const files::TokenShardCounts& counts, std::uint64_t hash) {
  files::Json json;
  json["file"] = file;
  json["tokens"] = counts.tokens;
  json["documents"] = counts.documents ? files::Json(counts.documents) : files::Json();
  json["bytes"] = counts.documents ? files::Json(counts.bytes) : files::Json();
  json["header_hash"] = hash_text(hash);
  return json;
}

}  // namespace

namespace detail {
namespace {

/// Whether a folder holds nothing but what a `data` that was killed leaves: files without their final name.
bool only_leftovers(const std::filesystem::path& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!is_temporary_name(it->path().filename().native())) return false;
  }
  return !error;
}

}  // namespace

OutputFolder::OutputFolder(const DataOutput& out) : path_(out.folder) {
  std::error_code error;
  if (path_.empty()) fail_usage("no folder to write to; name it with --out");
  const bool there = std::filesystem::exists(path_, error);
  if (there && !std::filesystem::is_directory(path_, error))
    fail_usage("--out {} is a file; name a folder", path_.string());
  if (there && !out.force && !only_leftovers(path_))
    fail_usage("--out {} is not empty; name another folder, or --force to write over the data in it", path_.string());
  made_ = !there;
  make_folder(path_);
  lock_.emplace(path_);
  if (!lock_->held())
    fail_usage("--out {} is being written by another process; wait for it, or name another folder", path_.string());
  remove_temporaries(path_);
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (made_) std::filesystem::remove(path_, ignored);  // does nothing to a folder that has files
}

void OutputFolder::invalidate() const {
  std::error_code error;
  if (!std::filesystem::remove(path_ / kDataRecord, error) && !error) return;
  if (error) fail("cannot remove {}: {}", (path_ / kDataRecord).string(), error.message());
  sync_folder(path_);
}

void check_share(double share) {
  if (!(share > 0 && share <= 0.5))
    fail_usage("--valid-share {} is out of range; it is above 0 and at most 0.5", share);
}

}  // namespace detail

files::Json path_list(const std::vector<std::filesystem::path>& paths) {
  files::Json list = files::Json::array();
  for (const auto& path : paths) list.push_back(path.string());
  return list;
}

void write_data_record(const std::filesystem::path& path, const DataSummary& summary, files::Json tokenizer,
                       files::Json options) {
  files::Json json;
  json["kind"] = "lowbit data folder";
  json["version"] = 1;
  json["vocabulary"] = summary.train.vocabulary;
  json["tokenizer"] = std::move(tokenizer);
  json["train"] = shard_entry(kTrainShard, summary.train, summary.train_hash);
  json["valid"] = shard_entry(kValidShard, summary.valid, summary.valid_hash);
  json["split"] = summary.split;
  json["empty_documents_left_out"] = summary.empty_documents;
  if (summary.train_unknown + summary.valid_unknown > 0) {
    json["unknown_tokens"]["train"] = summary.train_unknown;
    json["unknown_tokens"]["valid"] = summary.valid_unknown;
  }
  json["options"] = std::move(options);
  write_file(path, files::dump_pretty(json));
}

}  // namespace lowbit::text
