#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "files/expect_error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/nn/load.h"
#include "lowbit/run/engine.h"
#include "model/make_folder.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;
using files::Dtype;
using files::Json;

void expect_refused(const fs::path& folder, std::initializer_list<std::string_view> says) {
  expect_error(ErrorKind::input, says, [&] { model::ModelFolder opened(folder); });
}

std::vector<float> logits_of(const fs::path& folder) {
  ThreadPool pool(1);
  const std::vector<std::int32_t> ids{1, 17, 299, 3, 42, 42, 0};
  const nn::LlamaWeights weights = nn::load_llama(pool, model::ModelFolder(folder), ids.size());
  run::Engine engine(pool, weights, ids.size());
  run::Sequence sequence(weights, ids.size());
  std::vector<float> logits(ids.size() * 300);
  engine.feed_all(sequence, ids, logits.data());
  return logits;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

TEST(Shards, GiveTheLogitsOfTheModelInOneFile) {
  const TemporaryFolder whole, parts;
  const RawTensors tensors = random_tensors(small_model());
  write_model(whole.path(), small_model(), tensors);
  write_config(parts.path(), small_model());
  write_shards(parts.path(), tensors, 3);
  EXPECT_TRUE(same_bits(logits_of(whole.path()), logits_of(parts.path())));
  EXPECT_EQ(model::ModelFolder(parts.path()).weight_files(), 3u);
  EXPECT_EQ(model::ModelFolder(parts.path()).stored_bytes(), model::ModelFolder(whole.path()).stored_bytes());
}

TEST(Shards, OneFileThatAnIndexNamesIsFine) {
  const TemporaryFolder folder;
  const RawTensors tensors = random_tensors(small_model());
  write_model(folder.path(), small_model(), tensors);
  Json index;
  for (const auto& [name, tensor] : tensors) index["weight_map"][name] = "model.safetensors";
  write_file(folder / "model.safetensors.index.json", files::dump_pretty(index));
  EXPECT_EQ(model::ModelFolder(folder.path()).weight_files(), 1u);
}

TEST(Shards, EqualCopiesAreFineAndDifferentOnesAreRefused) {
  const TemporaryFolder folder;
  write_config(folder.path(), small_model());
  RawTensors tensors = random_tensors(small_model());
  write_shards(folder.path(), tensors, 2);
  RawTensors second;
  int i = 0;
  for (const auto& [name, tensor] : tensors)
    if (i++ % 2 == 1) second[name] = tensor;
  second["lm_head.weight"] = tensors["lm_head.weight"];  // the first by name: of shard 1
  write_safetensors(folder / shard_name(1, 2), second);
  EXPECT_NO_THROW(model::ModelFolder(folder.path()));
  second["lm_head.weight"].bytes[9] ^= std::byte{1};
  write_safetensors(folder / shard_name(1, 2), second);
  expect_refused(folder.path(), {shard_name(0, 2), shard_name(1, 2), "lm_head.weight", "different copies"});
}

TEST(Shards, WhatMapAndFilesDoNotAgreeOnIsRefusedByName) {
  const TemporaryFolder folder;
  write_config(folder.path(), small_model());
  const RawTensors tensors = random_tensors(small_model());
  const auto index_with = [&](auto change) {
    write_shards(folder.path(), tensors, 2, change);
    return folder.path();
  };
  expect_refused(index_with([](Json& j) { j["weight_map"].erase("model.norm.weight"); }),
                 {"model.norm.weight", "names no file"});
  expect_refused(index_with([](Json& j) { j["weight_map"]["model.extra.weight"] = shard_name(0, 2); }),
                 {"model.extra.weight", "does not"});
  expect_refused(index_with([](Json& j) { j["weight_map"]["model.norm.weight"] = "model-9.safetensors"; }),
                 {"model-9.safetensors", "not there"});
  expect_refused(index_with([](Json& j) { j["weight_map"]["model.norm.weight"] = "../x.safetensors"; }),
                 {"plain file name"});
  expect_refused(index_with([](Json& j) { j["weight_map"]["model.norm.weight"] = ""; }), {"plain file name"});
  expect_refused(index_with([](Json& j) { j["weight_map"]["model.norm.weight"] = 3; }), {"model.norm.weight"});
  expect_refused(index_with([](Json& j) { j["weight_map"] = Json::object(); }), {"weight_map"});
  expect_refused(index_with([](Json& j) { j = Json::array(); }), {"weight_map"});
  index_with([](Json&) {});
  write_file(folder / "model.safetensors.index.json", R"({"weight_map": {"a": "x", "a": "y"}})");
  expect_refused(folder.path(), {"\"a\"", "twice"});
}

TEST(Shards, MissingStaleAndForeignFilesAreRefusedByName) {
  const TemporaryFolder folder;
  write_config(folder.path(), small_model());
  const RawTensors tensors = random_tensors(small_model());
  write_shards(folder.path(), tensors, 2);
  write_safetensors(folder / "model.safetensors", tensors);
  expect_refused(folder.path(), {"model.safetensors", "two things"});
  fs::remove(folder / "model.safetensors");
  write_safetensors(folder / "model-00003-of-00003.safetensors", tensors);
  expect_refused(folder.path(), {"model-00003-of-00003.safetensors", "two things"});
  fs::remove(folder / "model-00003-of-00003.safetensors");
  write_file(folder / "adapter_config.json", "{}");
  expect_refused(folder.path(), {"adapter_config.json"});
  fs::remove(folder / "adapter_config.json");
  EXPECT_NO_THROW(model::ModelFolder(folder.path()));
  fs::remove(folder / shard_name(1, 2));
  expect_refused(folder.path(), {shard_name(1, 2), "not there"});
  fs::remove(folder / "model.safetensors.index.json");
  expect_refused(folder.path(), {shard_name(0, 2), "model.safetensors.index.json"});
  fs::remove(folder / shard_name(0, 2));
  write_file(folder / "pytorch_model.bin", "x");
  expect_refused(folder.path(), {"pytorch_model.bin", "safetensors"});
  write_file(folder / "model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  expect_refused(folder.path(), {"model.safetensors", "Git LFS"});
}

TEST(StoredHead, EqualToTheEmbeddingItIsFineAndOtherwiseRefusedNamingBoth) {
  const TemporaryFolder folder;
  model::ModelDescription tied = small_model();
  tied.config.tied = true;
  RawTensors tensors = random_tensors(tied);
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  write_model(folder.path(), tied, tensors);
  EXPECT_NO_THROW(model::ModelFolder(folder.path()));
  tensors["lm_head.weight"].bytes.back() ^= std::byte{1};
  write_model(folder.path(), tied, tensors);
  expect_refused(folder.path(), {"tie_word_embeddings", "lm_head.weight", "model.embed_tokens.weight"});
  tensors["lm_head.weight"].shape = {64, 300};
  write_model(folder.path(), tied, tensors);
  expect_refused(folder.path(), {"lm_head.weight", "[300, 64]"});
  tensors.erase("lm_head.weight");
  write_model(folder.path(), tied, tensors, [](Json& json) { json["tie_word_embeddings"] = false; });
  expect_refused(folder.path(), {"lm_head.weight", "tie_word_embeddings"});
}

TEST(StoredHead, OfAnotherTypeWithTheSameNumbersIsFine) {
  const TemporaryFolder folder;
  model::ModelDescription tied = small_model();
  tied.config.tied = true;
  RawTensors tensors = random_tensors(tied);
  const std::vector<float> values(300 * 64, 0.25f);
  tensors["model.embed_tokens.weight"] = make_tensor(Dtype::f32, {300, 64}, values);
  tensors["lm_head.weight"] = make_tensor(Dtype::bf16, {300, 64}, values);
  write_model(folder.path(), tied, tensors);
  EXPECT_NO_THROW(model::ModelFolder(folder.path()));
}

TEST(StoredRotaryTable, MustBeThatOfConfigJson) {
  for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) {
    const TemporaryFolder folder;
    RawTensors tensors = random_tensors(small_model());
    const auto put = [&](double theta) {
      std::vector<float> table;
      for (int i = 0; i < 8; ++i) table.push_back(static_cast<float>(std::pow(theta, -i / 8.0)));
      tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = make_tensor(dtype, {8}, table);
      write_model(folder.path(), small_model(), tensors);
    };
    put(10000);
    EXPECT_NO_THROW(model::ModelFolder(folder.path()));
    put(500000);
    expect_refused(folder.path(), {"model.layers.1.self_attn.rotary_emb.inv_freq", "rope_theta", "two things"});
    tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = make_tensor(dtype, {4}, {1, 1, 1, 1});
    write_model(folder.path(), small_model(), tensors);
    expect_refused(folder.path(), {"inv_freq", "[4]"});
  }
}

TEST(StoredTensors, OfOtherNamesOrPrefixesAreRefused) {
  for (const std::string name :
       {"model.model.norm.weight", "base_model.model.lm_head.weight", "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.q_proj.lora_A.weight", "lm_head.bias"}) {
    const TemporaryFolder folder;
    RawTensors tensors = random_tensors(small_model());
    tensors[name] = make_tensor(Dtype::f32, {64}, std::vector<float>(64, 1));
    write_model(folder.path(), small_model(), tensors);
    expect_refused(folder.path(), {name});
  }
}

TEST(StoredTypes, AreComputedWithoutRoundingAnyOfThem) {
  const TemporaryFolder floats, mixed;
  RawTensors tensors = random_tensors(small_model());
  // An embedding whose numbers bfloat16 holds: as bfloat16 or as float32 it is the same model.
  std::vector<float> values;
  for (int i = 0; i < 300 * 64; ++i) values.push_back(static_cast<float>(i % 13 - 6) / 64);
  tensors["model.embed_tokens.weight"] = make_tensor(Dtype::f32, {300, 64}, values);
  write_model(floats.path(), small_model(), tensors);
  for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
    tensors["model.embed_tokens.weight"] = make_tensor(dtype, {300, 64}, values);
    write_model(mixed.path(), small_model(), tensors);
    const model::ModelFolder folder(mixed.path());
    EXPECT_EQ(folder.scheme().format.name(), "f32");
    ASSERT_EQ(folder.notes().size(), 1u);
    EXPECT_NE(folder.notes()[0].find("F32"), std::string::npos);
    EXPECT_TRUE(same_bits(logits_of(floats.path()), logits_of(mixed.path())));
  }
  tensors["model.embed_tokens.weight"] = make_tensor(Dtype::f64, {300, 64}, values);
  write_model(mixed.path(), small_model(), tensors);
  expect_refused(mixed.path(), {"model.embed_tokens.weight", "F64"});
}

TEST(StoredTypes, AllInBfloat16AreComputedInBfloat16WhateverTorchDtypeSays) {
  const TemporaryFolder folder;
  RawTensors tensors = random_tensors(small_model());
  for (auto& [name, tensor] : tensors)
    if (name.find("norm") == std::string::npos)
      tensor = make_tensor(Dtype::bf16, tensor.shape, std::vector<float>(tensor.bytes.size() / 4, 0.125f));
  write_model(folder.path(), small_model(), tensors, [](Json& json) { json["torch_dtype"] = "float16"; });
  const model::ModelFolder opened(folder.path());
  EXPECT_EQ(opened.scheme().format.name(), "bf16");
  ASSERT_EQ(opened.notes().size(), 1u);
  EXPECT_NE(opened.notes()[0].find("float16"), std::string::npos);
}

TEST(GenerationConfig, AddsItsEndTokens) {
  using Ids = std::vector<std::int64_t>;
  const TemporaryFolder folder;
  model::ModelDescription description = small_model();
  description.config.eos = {5};
  write_model(folder.path(), description, random_tensors(description));
  write_file(folder / "generation_config.json", R"({"eos_token_id": [7, 5], "bos_token_id": 3, "temperature": 0.6})");
  EXPECT_EQ(model::ModelFolder(folder.path()).config().eos, (Ids{5, 7}));
  EXPECT_EQ(model::ModelFolder(folder.path()).config().bos, 3);
  write_config(folder.path(), description,
               [](Json& json) { json["eos_token_id"] = nullptr, json["bos_token_id"] = 1; });
  EXPECT_EQ(model::ModelFolder(folder.path()).config().eos, (Ids{7, 5}));
  EXPECT_EQ(model::ModelFolder(folder.path()).config().bos, 1);
  write_file(folder / "generation_config.json", R"({"eos_token_id": 300})");
  expect_refused(folder.path(), {"generation_config.json", "300"});
  write_file(folder / "generation_config.json", "[]");
  expect_refused(folder.path(), {"generation_config.json"});
}

TEST(PackedScales, NegativeNanAndInfiniteOnesAreRefusedWithTheirRow) {
  model::ModelDescription packed = small_model();
  packed.scheme = default_scheme(parse_format("w4a4"));
  packed.packed = packed.scheme_stated = true;
  for (const float bad : {-0.5f, std::nanf(""), INFINITY}) {
    const TemporaryFolder folder;
    RawTensors tensors;
    for (const auto& spec : model::tensors(packed.config)) {
      if (!spec.linear()) {
        tensors[spec.name] =
            make_tensor(Dtype::f32, spec.shape(), std::vector<float>(static_cast<std::size_t>(spec.elements()), 1));
        continue;
      }
      tensors[spec.name + ".codes"] = {Dtype::u8,
                                       {spec.rows, spec.columns / 2},
                                       std::vector<std::byte>(static_cast<std::size_t>(spec.elements() / 2))};
      tensors[spec.name + ".scale"] =
          make_tensor(Dtype::f32, {spec.rows}, std::vector<float>(static_cast<std::size_t>(spec.rows), 0.1f));
    }
    write_model(folder.path(), packed, tensors);
    ThreadPool pool(1);
    EXPECT_NO_THROW(nn::load_llama(pool, model::ModelFolder(folder.path()), 4));
    std::memcpy(tensors["model.layers.1.mlp.up_proj.weight.scale"].bytes.data() + 8, &bad, 4);
    write_model(folder.path(), packed, tensors);
    expect_error(ErrorKind::input, {"model.layers.1.mlp.up_proj.weight.scale", "row 2"},
                 [&] { nn::load_llama(pool, model::ModelFolder(folder.path()), 4); });
  }
}

}  // namespace
}  // namespace lowbit::test
