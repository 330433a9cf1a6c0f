#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lowbit/model/config.h"
#include "lowbit/model/tensors.h"
#include "lowbit/model/weight_files.h"

namespace lowbit::model {

/// A model folder, opened and checked: config.json, generation_config.json's end tokens, model.safetensors (or the
/// shards that model.safetensors.index.json names), every tensor there with the right shape and dtype, none unknown,
/// none that contradicts another. Weights stay mapped.
class ModelFolder {
 public:
  /// throws Error(input) that names file, tensor, what was found and what was wanted.
  explicit ModelFolder(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  const Config& config() const { return description_.config; }
  const Scheme& scheme() const { return description_.scheme; }
  const ModelDescription& description() const { return description_; }
  bool packed() const { return description_.packed; }

  /// Whether this tensor is stored as codes and scale.
  bool is_coded(const TensorSpec& spec) const;
  /// The float tensor (f32 or bf16, or f16 widened exactly).
  const files::TensorView& tensor(const TensorSpec& spec) const;
  /// A whole float tensor as float32. throws Error(input): it holds a NaN or an infinity (with row and column).
  void read_floats(const TensorSpec& spec, std::span<float> out) const;
  /// Canonical codes (rows of canonical_row_bytes) and scales (h, [rows] or [rows, slices]) of a coded tensor; scales
  /// are checked: finite and not negative.
  std::span<const std::uint8_t> codes(const TensorSpec& spec) const;
  std::span<const float> scales(const TensorSpec& spec) const;
  /// The offset of each row, checked finite; empty where rows have none.
  std::span<const float> offsets(const TensorSpec& spec) const;
  /// Bytes of the tensor data as stored.
  std::size_t stored_bytes() const { return weights_->bytes(); }
  /// How many files the weights lie in.
  std::size_t weight_files() const { return weights_->files().size(); }
  /// What a reader of the folder may want to know: each a line.
  std::vector<std::string> notes() const;

 private:
  const files::TensorView* find(std::string_view name) const;
  const files::TensorView& at(const std::string& name) const;
  void read_generation();
  void check_tensors();
  bool has_offsets(const TensorSpec& spec) const;
  void infer_scheme();

  std::filesystem::path path_;
  ModelDescription description_;
  std::optional<WeightFiles> weights_;
  std::vector<std::string> stored_types_;  ///< of the matrices, by name, each once
};

}  // namespace lowbit::model
