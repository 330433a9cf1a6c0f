#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lowbit/files/json.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/model/config.h"

namespace lowbit::test {

/// A tensor as a test lays it into a file.
struct RawTensor {
  files::Dtype dtype = files::Dtype::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};
using RawTensors = std::map<std::string, RawTensor>;

/// Two blocks of width 64 with a vocabulary of 300 and a context of 48; f32.
model::ModelDescription small_model();
/// Weights of a model, drawn from a seed, about as large as trained ones.
RawTensors random_tensors(const model::ModelDescription& description, std::uint64_t seed = 1);
RawTensor make_tensor(files::Dtype dtype, std::vector<std::int64_t> shape, const std::vector<float>& values);

void write_safetensors(const std::filesystem::path& path, const RawTensors& tensors);
/// config.json as this program writes it, changed by `change`, and model.safetensors.
void write_model(const std::filesystem::path& folder, const model::ModelDescription& description,
                 const RawTensors& tensors, const std::function<void(files::Json&)>& change = {});
void write_config(const std::filesystem::path& folder, const model::ModelDescription& description,
                  const std::function<void(files::Json&)>& change = {});
/// The same weights in `shards` files with their index instead of model.safetensors.
void write_shards(const std::filesystem::path& folder, const RawTensors& tensors, int shards,
                  const std::function<void(files::Json& index)>& change = {});
std::string shard_name(int shard, int shards);

/// llama2.c's vocabulary: the bytes and these pieces, from id 259 on.
std::string tokenizer_bytes(const std::vector<std::string>& pieces);

}  // namespace lowbit::test
