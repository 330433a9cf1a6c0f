#include "lowbit/files/data_identity.h"

#include <algorithm>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/hash.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/files/token_shard.h"

namespace lowbit::files {
namespace {

namespace fs = std::filesystem;

std::string hash_of(const fs::path& file) { return hash_text(hash_bytes(FileMap(file).bytes())); }

/// Of a teacher what decides its logits: its weights and config.json.
std::string hash_of_model(const fs::path& path) {
  const fs::path folder = resolve_model(path);
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".safetensors" || it->path().filename() == "config.json") files.push_back(it->path());
  std::sort(files.begin(), files.end());
  Hasher all;
  for (const fs::path& file : files) {
    const std::string line = file.filename().string() + " " + hash_of(file) + "\n";
    all.add(std::as_bytes(std::span(line)));
  }
  return hash_text(all.value());
}

}  // namespace

DataIdentity identity_of(const DataPaths& paths) {
  DataIdentity identity;
  std::error_code error;
  if (!paths.data.empty()) {
    identity.emplace_back("train", hash_text(TokenShard(paths.data / "train.lbd").header_hash()));
    if (fs::exists(paths.data / "valid.lbd", error))
      identity.emplace_back("valid", hash_text(TokenShard(paths.data / "valid.lbd").header_hash()));
  }
  if (!paths.batches.empty()) identity.emplace_back("batches", hash_of(paths.batches));
  if (!paths.eval_batches.empty()) identity.emplace_back("eval-batches", hash_of(paths.eval_batches));
  if (!paths.distill.empty()) identity.emplace_back("distill", hash_of_model(paths.distill));
  return identity;
}

std::string other_data(const DataIdentity& recorded, const DataIdentity& now) {
  for (const auto& [name, hash] : recorded) {
    const auto same = std::find_if(now.begin(), now.end(), [&](const auto& part) { return part.first == name; });
    if (same == now.end() || same->second != hash) return name;
  }
  return {};
}

}  // namespace lowbit::files
