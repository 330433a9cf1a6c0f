#include "lowbit/model/weight_files.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/files/json.h"

namespace lowbit::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWhole = "model.safetensors", kIndex = "model.safetensors.index.json";
constexpr std::size_t kMaxIndexBytes = std::size_t{256} << 20;

bool there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

/// Names that end in .safetensors, in order.
std::vector<std::string> safetensors_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (const std::string name = it->path().filename().string(); name.ends_with(".safetensors")) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

/// "model-00001-of-00002.safetensors".
bool is_shard(std::string_view name) {
  return name.starts_with("model-") && name.find("-of-") != std::string_view::npos;
}

/// Why a folder without model.safetensors and index cannot be read.
[[noreturn]] void fail_without_weights(const fs::path& folder) {
  const std::vector<std::string> names = safetensors_in(folder);
  const auto shard = std::find_if(names.begin(), names.end(), is_shard);
  if (shard != names.end())
    fail_input("{} holds {} and no {}, which says what lies in which file; fetch the index too", folder.string(),
               *shard, kIndex);
  if (there(folder / "adapter_model.safetensors"))
    fail_input("{} holds an adapter alone; merge it into its model and name the merged folder", folder.string());
  for (const char* other : {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"})
    if (there(folder / other))
      fail_input("{} holds {} and no {}; save the weights as safetensors first", folder.string(), other, kWhole);
  fail_input("{} holds no {}", folder.string(), kWhole);
}

/// What `file` is, when it is not what its name says.
void refuse_pointer(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error || size > 1024) return;
  if (read_file(path).starts_with("version https://git-lfs"))
    fail_input("{} is a Git LFS pointer, not the file itself; fetch it with git lfs pull", path.string());
}

}  // namespace

WeightFiles::WeightFiles(const fs::path& folder) {
  const fs::path whole = folder / kWhole, index = folder / kIndex;
  const bool has_whole = there(whole), has_index = there(index);
  if (!has_whole && !has_index) fail_without_weights(folder);
  if (there(folder / "adapter_config.json"))
    fail_input(
        "{} holds adapter_config.json: an adapter that other programs apply to these weights; merge it, or remove it",
        folder.string());
  if (has_index) {
    open_shards(folder, index);
  } else {
    refuse_pointer(whole);
    files_.push_back(std::make_unique<files::SafetensorsFile>(whole));
    for (const auto& view : files_.front()->tensors()) tensors_.emplace(view.name, &view);
  }
  for (const std::string& name : safetensors_in(folder)) {
    const bool read =
        std::any_of(files_.begin(), files_.end(), [&](const auto& f) { return f->path() == (folder / name).string(); });
    if (!read && (name == kWhole || is_shard(name)))
      fail_input(
          "{} says two things: {} lies there too, and {}; remove the one that is not meant", folder.string(), name,
          has_index ? fmt::format("{} does not name it", kIndex) : fmt::format("{} holds the whole model", kWhole));
  }
}

void WeightFiles::open_shards(const fs::path& folder, const fs::path& index) {
  refuse_pointer(index);
  const std::string where = index.string();
  const nlohmann::json json = files::parse_large_json(read_file(index, kMaxIndexBytes), where);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object() || map->empty())
    fail_input("{}: wanted an object with weight_map, which names a file for each tensor", where);
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) fail_input("{}: weight_map must name a file for {}", where, files::json_excerpt(tensor));
    const auto& name = file.get_ref<const std::string&>();
    if (name.empty() || fs::path(name).filename() != fs::path(name) || name == "." || name == ".." ||
        name.find('\0') != std::string::npos)
      fail_input("{}: {} is not a plain file name", where, files::json_excerpt(name));
    names.insert(name);
  }
  std::map<std::string, const files::SafetensorsFile*> by_name;
  for (const std::string& name : names) {
    const fs::path path = folder / name;
    if (!there(path))
      fail_input("{} names {}, which is not there; is the folder fetched completely?", where,
                 files::json_excerpt(name));
    refuse_pointer(path);
    files_.push_back(std::make_unique<files::SafetensorsFile>(path));
    by_name.emplace(name, files_.back().get());
  }
  for (const auto& [tensor, file] : map->items()) {
    const auto& name = file.get_ref<const std::string&>();
    const files::TensorView* view = by_name.at(name)->find(tensor);
    if (!view) fail_input("{} says that {} holds {}, but it does not", where, name, files::json_excerpt(tensor));
    tensors_.emplace(tensor, view);
  }
  for (const auto& [name, file] : by_name)
    for (const auto& view : file->tensors()) {
      const files::TensorView* used = find(view.name);
      if (!used)
        fail_input("{} holds {}, for which {} names no file", file->path(), files::json_excerpt(view.name), kIndex);
      if (used == &view) continue;
      if (used->dtype != view.dtype || used->shape != view.shape || !std::ranges::equal(used->bytes, view.bytes))
        fail_input("{} and {} hold different copies of {}", used->file, view.file, files::json_excerpt(view.name));
    }
}

const files::TensorView* WeightFiles::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

std::size_t WeightFiles::bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, view] : tensors_) bytes += view->bytes.size();
  return bytes;
}

}  // namespace lowbit::model
