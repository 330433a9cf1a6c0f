#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/files/safetensors.h"

namespace lowbit::model {

/// The weights of a model folder: model.safetensors, or the shards that model.safetensors.index.json names. Its
/// weight_map decides which file a tensor is read from.
class WeightFiles {
 public:
  /// throws Error(input) that names file and tensor: a missing shard, a tensor that the map names and its file lacks or
  /// the other way round, two copies of a tensor that differ, model.safetensors beside an index of other files, an
  /// adapter that was not merged, weights in another container.
  explicit WeightFiles(const std::filesystem::path& folder);

  /// nullptr when there is none of that name.
  const files::TensorView* find(std::string_view name) const;
  /// Each tensor once.
  const std::map<std::string, const files::TensorView*, std::less<>>& tensors() const { return tensors_; }
  /// Never empty.
  const std::vector<std::unique_ptr<files::SafetensorsFile>>& files() const { return files_; }
  /// Bytes of the tensors, each counted once.
  std::size_t bytes() const;

 private:
  void open_shards(const std::filesystem::path& folder, const std::filesystem::path& index);
  std::vector<std::unique_ptr<files::SafetensorsFile>> files_;
  std::map<std::string, const files::TensorView*, std::less<>> tensors_;
};

}  // namespace lowbit::model
