#include "model/make_folder.h"

#include <cstring>

#include "lowbit/base/file_write.h"
#include "lowbit/base/rng.h"
#include "lowbit/formats/bf16.h"
#include "lowbit/model/tensors.h"

namespace lowbit::test {

namespace fs = std::filesystem;
using files::Dtype;
using files::Json;

model::ModelDescription small_model() {
  model::ModelDescription description;
  model::Config& c = description.config;
  c.layers = 2;
  c.width = 64;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.mlp = 96;
  c.vocab = 300;
  c.positions = 48;
  description.scheme = default_scheme(parse_format("f32"));
  return description;
}

RawTensor make_tensor(Dtype dtype, std::vector<std::int64_t> shape, const std::vector<float>& values) {
  RawTensor tensor{dtype, std::move(shape), {}};
  const auto append = [&](const auto& value) {
    const auto* from = reinterpret_cast<const std::byte*>(&value);
    tensor.bytes.insert(tensor.bytes.end(), from, from + sizeof(value));
  };
  for (const float v : values)
    if (dtype == Dtype::bf16)
      append(to_bf16(v));
    else if (dtype == Dtype::f16)
      append(static_cast<_Float16>(v));
    else if (dtype == Dtype::f64)
      append(static_cast<double>(v));
    else
      append(v);
  return tensor;
}

RawTensors random_tensors(const model::ModelDescription& description, std::uint64_t seed) {
  RawTensors tensors;
  std::uint64_t id = 0;
  for (const model::TensorSpec& spec : model::tensors(description.config)) {
    const Rng rng(seed, RandomUse::test, id++);
    std::vector<float> values(static_cast<std::size_t>(spec.elements()), 1.0f);
    if (spec.role != model::TensorRole::norm)
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(0.3 * (rng.uniform(i) - 0.5));
    tensors[spec.name] = make_tensor(Dtype::f32, spec.shape(), values);
  }
  return tensors;
}

void write_safetensors(const fs::path& path, const RawTensors& tensors) {
  files::SafetensorsWriter writer;
  for (const auto& [name, t] : tensors) writer.add(name, t.dtype, t.shape, std::span<const std::byte>(t.bytes));
  writer.write(path);
}

void write_config(const fs::path& folder, const model::ModelDescription& description,
                  const std::function<void(Json&)>& change) {
  Json json = model::config_json(description);
  if (change) change(json);
  write_file(folder / "config.json", files::dump_pretty(json));
}

void write_model(const fs::path& folder, const model::ModelDescription& description, const RawTensors& tensors,
                 const std::function<void(Json&)>& change) {
  write_config(folder, description, change);
  write_safetensors(folder / "model.safetensors", tensors);
}

std::string shard_name(int shard, int shards) {
  return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
}

void write_shards(const fs::path& folder, const RawTensors& tensors, int shards,
                  const std::function<void(Json& index)>& change) {
  std::vector<RawTensors> parts(static_cast<std::size_t>(shards));
  Json index;
  int next = 0;
  for (const auto& [name, tensor] : tensors) {
    const int shard = next++ % shards;
    parts[static_cast<std::size_t>(shard)][name] = tensor;
    index["weight_map"][name] = shard_name(shard, shards);
  }
  index["metadata"]["total_size"] = 1;
  for (int i = 0; i < shards; ++i)
    write_safetensors(folder / shard_name(i, shards), parts[static_cast<std::size_t>(i)]);
  if (change) change(index);
  write_file(folder / "model.safetensors.index.json", files::dump_pretty(index));
}

std::string tokenizer_bytes(const std::vector<std::string>& pieces) {
  std::vector<std::string> all{"<unk>", "<s>", "</s>"};
  for (int byte = 0; byte < 256; ++byte) all.push_back(fmt::format("<0x{:02X}>", byte));
  all.insert(all.end(), pieces.begin(), pieces.end());
  std::uint32_t longest = 0;
  for (const std::string& piece : all) longest = std::max(longest, static_cast<std::uint32_t>(piece.size()));
  std::string out(reinterpret_cast<const char*>(&longest), 4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto score = -static_cast<float>(i);
    const auto size = static_cast<std::uint32_t>(all[i].size());
    out.append(reinterpret_cast<const char*>(&score), 4).append(reinterpret_cast<const char*>(&size), 4).append(all[i]);
  }
  return out;
}

}  // namespace lowbit::test
