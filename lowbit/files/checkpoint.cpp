#include "lowbit/files/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <set>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/hash.h"
#include "lowbit/files/json.h"

namespace lowbit::files {
namespace {

namespace fs = std::filesystem;

constexpr int kManifestVersion = 1;
constexpr std::string_view kManifest = "manifest.json";
constexpr std::string_view kStep = "step-";

fs::path checkpoints_of(const fs::path& run_folder) { return run_folder / "checkpoints"; }
std::string folder_name(std::int64_t step) { return fmt::format("{}{}", kStep, step); }

/// The N of step-N, where N is written as we write it.
std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kStep)) return std::nullopt;
  const std::string_view digits = name.substr(kStep.size());
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc() || end != digits.data() + digits.size() || step < 0 || folder_name(step) != name)
    return std::nullopt;
  return step;
}

bool plain_name(std::string_view name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string_view::npos && name != kManifest;
}

/// Removes a folder of ours that has no final name. What cannot be removed is only in the way of disk space.
void remove_quietly(const fs::path& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory)
    fail_input("cannot list folder {}: {}", folder.string(), error.message());
  return names;
}

/// Swaps two folders in one move. false where the file system cannot. Tests know the call as "exchange".
bool exchange(const fs::path& a, const fs::path& b) {
  int error = file_fault ? file_fault("exchange") : 0;
  if (!error && renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) != 0) error = errno;
  if (error == EINVAL || error == ENOSYS || error == ENOTSUP) return false;
  if (error) fail("cannot exchange {} and {}: {}", a.string(), b.string(), errno_text(error));
  return true;
}

}  // namespace

CheckpointWriter::CheckpointWriter(const fs::path& run_folder, std::int64_t step)
    : checkpoints_(checkpoints_of(run_folder)), final_(checkpoints_ / folder_name(step)), step_(step) {
  assert(step >= 0);
  temporary_ = temporary_name(checkpoints_ / ("." + folder_name(step)));
  std::error_code error;
  if (!fs::exists(checkpoints_, error)) {
    make_folder(checkpoints_);
    sync_folder(run_folder);
  }
  make_folder(temporary_);
}

CheckpointWriter::~CheckpointWriter() {
  if (owned_) remove_quietly(temporary_);
}

void CheckpointWriter::add(std::string_view name, const ByteSource& source) {
  assert(plain_name(name));
  assert(std::ranges::none_of(files_, [&](const ManifestEntry& file) { return file.name == name; }));
  AtomicFile file(temporary_ / name);
  Hasher hasher;
  source([&](std::span<const std::byte> bytes) {
    hasher.add(bytes);
    file.write(bytes);
  });
  files_.push_back({std::string(name), file.size(), hasher.value()});
  file.commit();
}

void CheckpointWriter::add(std::string_view name, std::string_view bytes) {
  add(name, [bytes](const ByteSink& sink) { sink(std::as_bytes(std::span(bytes))); });
}

fs::path CheckpointWriter::finish() {
  assert(owned_ && !files_.empty());
  Json files = Json::array();
  for (const ManifestEntry& file : files_)
    files.push_back(Json{{"name", file.name}, {"bytes", file.bytes}, {"xxh3", hash_text(file.hash)}});
  write_file(temporary_ / kManifest,
             dump_pretty(Json{{"version", kManifestVersion}, {"step", step_}, {"files", files}}));
  sync_folder(temporary_);

  std::error_code error;
  if (!fs::exists(final_, error)) {
    rename_path(temporary_, final_);
    owned_ = false;
    sync_folder(checkpoints_);
    return final_;
  }
  if (exchange(temporary_, final_)) {
    // The old one has our temporary name now. It is removed only when the swap is durable: until then a power cut may
    // bring the old names back.
    owned_ = false;
    sync_folder(checkpoints_);
    remove_quietly(temporary_);
    return final_;
  }
  // Without a swap there is a moment without step-N; clean_checkpoints then puts the old one back.
  const fs::path old = checkpoints_ / fmt::format(".{}.old-{}", folder_name(step_), random_digits());
  rename_path(final_, old);
  try {
    rename_path(temporary_, final_);
  } catch (const Error&) {
    fs::rename(old, final_, error);
    throw;
  }
  owned_ = false;
  sync_folder(checkpoints_);
  remove_quietly(old);
  return final_;
}

std::vector<ManifestEntry> verify_checkpoint(const Checkpoint& checkpoint, Verify verify) {
  const fs::path path = checkpoint.folder / kManifest;
  const std::string where = path.string();
  const Json manifest = read_json(path);
  refuse_unknown_keys(manifest, {"version", "step", "files"}, where);
  if (const auto version = required<int>(manifest, "version", where); version != kManifestVersion)
    fail_input("{}: version {} of the manifest; this program reads {}", where, version, kManifestVersion);
  if (const auto step = required<std::int64_t>(manifest, "step", where); step != checkpoint.step)
    fail_input("{}: step {} in folder {}", where, step, checkpoint.folder.filename().string());

  std::vector<ManifestEntry> files;
  std::set<std::string> seen;
  for (const Json& json : required<std::vector<Json>>(manifest, "files", where)) {
    refuse_unknown_keys(json, {"name", "bytes", "xxh3"}, where);
    ManifestEntry entry{required<std::string>(json, "name", where), required<std::uint64_t>(json, "bytes", where), 0};
    const auto hash = required<std::string>(json, "xxh3", where);
    const auto [end, bad] = std::from_chars(hash.data(), hash.data() + hash.size(), entry.hash, 16);
    if (bad != std::errc() || end != hash.data() + hash.size() || hash_text(entry.hash) != hash)
      fail_input("{}: \"xxh3\" is {}, wanted 16 hexadecimal digits", where, json_excerpt(json["xxh3"]));
    if (!plain_name(entry.name) || !seen.insert(entry.name).second)
      fail_input("{}: {} is no file name, or stands twice", where, json_excerpt(json["name"]));

    const fs::path file = checkpoint.folder / entry.name;
    std::error_code error;
    const auto bytes = fs::file_size(file, error);
    if (error) fail_input("{}: {}", file.string(), error.message());
    if (bytes != entry.bytes) fail_input("{} has {} bytes, {} were written", file.string(), bytes, entry.bytes);
    if (verify == Verify::hashes) {
      const std::uint64_t found = bytes == 0 ? hash_bytes({}) : hash_bytes(FileMap(file).bytes());
      if (found != entry.hash)
        fail_input("{} was changed after it was written: its hash is not the manifest's", file.string());
    }
    files.push_back(std::move(entry));
  }
  if (files.empty()) fail_input("{}: lists no files", where);
  return files;
}

std::uint64_t checkpoint_bytes(const fs::path& run_folder) {
  std::uint64_t bytes = 0;
  for (const Checkpoint& checkpoint : list_checkpoints(run_folder))
    for (const std::string& name : names_in(checkpoint.folder)) {
      std::error_code error;
      const auto size = fs::file_size(checkpoint.folder / name, error);
      if (!error) bytes += size;
    }
  return bytes;
}

std::vector<Checkpoint> list_checkpoints(const fs::path& run_folder) {
  std::vector<Checkpoint> found;
  for (const std::string& name : names_in(checkpoints_of(run_folder)))
    if (const auto step = step_of(name)) found.push_back({checkpoints_of(run_folder) / name, *step});
  std::ranges::sort(found, {}, &Checkpoint::step);
  return found;
}

std::optional<Checkpoint> newest_complete(const fs::path& run_folder, Verify verify, const Warn& warn) {
  auto found = list_checkpoints(run_folder);
  for (auto it = found.rbegin(); it != found.rend(); ++it) {
    try {
      verify_checkpoint(*it, verify);
      return *it;
    } catch (const Error& error) {
      if (warn) warn(fmt::format("checkpoint {} is damaged and passed over: {}", it->folder.string(), error.what()));
    }
  }
  return std::nullopt;
}

void prune_checkpoints(const fs::path& run_folder, int keep, std::int64_t newest) {
  assert(keep >= 1);
  auto found = list_checkpoints(run_folder);
  std::erase_if(found, [&](const Checkpoint& checkpoint) { return checkpoint.step >= newest; });
  int kept = 1;
  for (auto it = found.rbegin(); it != found.rend(); ++it) {
    if (kept < keep) {
      try {
        verify_checkpoint(*it, Verify::sizes);
        ++kept;
      } catch (const Error&) {  // damaged: it stays, but does not count
      }
      continue;
    }
    // Under a name that nobody takes for a checkpoint first, as removing takes many steps.
    const fs::path trash = temporary_name(checkpoints_of(run_folder) / ("." + it->folder.filename().string()));
    rename_path(it->folder, trash);
    remove_quietly(trash);
  }
}

void clean_checkpoints(const fs::path& run_folder) {
  const fs::path folder = checkpoints_of(run_folder);
  bool renamed = false;
  for (const std::string& name : names_in(folder)) {
    if (!name.starts_with('.')) continue;
    const auto old = name.rfind(".old-");
    const auto mark = old != std::string::npos ? old : name.rfind(".tmp-");
    if (mark == std::string::npos || mark < 1 || !step_of(std::string_view(name).substr(1, mark - 1))) continue;
    const fs::path final_path = folder / name.substr(1, mark - 1);
    std::error_code error;
    if (old != std::string::npos && !fs::exists(final_path, error)) {
      rename_path(folder / name, final_path);
      renamed = true;
    } else {
      remove_quietly(folder / name);
    }
  }
  if (renamed) sync_folder(folder);
}

}  // namespace lowbit::files
