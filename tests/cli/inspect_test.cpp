#include <gtest/gtest.h>

#include <filesystem>

#include "cli/process.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/files/checkpoint.h"
#include "lowbit/files/json.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/model/config.h"
#include "lowbit/model/tensors.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;
using files::Json;

Outcome inspect(const fs::path& path, bool json = false) {
  std::vector<std::string> arguments{LOWBIT_PROGRAM, "inspect", path.string()};
  if (json) arguments.push_back("--json");
  return run_program(arguments);
}

Json inspect_json(const fs::path& path, int exit_code = 0) {
  const Outcome outcome = inspect(path, true);
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  return files::parse_json(outcome.out, "the output");
}

model::ModelDescription tiny() {
  model::ModelDescription description;
  auto& c = description.config;
  c.layers = 1;
  c.width = 64;
  c.heads = 2;
  c.kv_heads = 1;
  c.head_dim = 32;
  c.mlp = 96;
  c.vocab = 40;
  c.positions = 32;
  description.scheme = default_scheme(parse_format("w4a4"));
  description.scheme_stated = true;
  return description;
}

std::string safetensors_of(const model::ModelDescription& description, float value) {
  std::vector<std::vector<float>> values;
  files::SafetensorsWriter writer;
  for (const auto& spec : model::tensors(description.config)) {
    values.emplace_back(static_cast<std::size_t>(spec.elements()), value);
    writer.add(spec.name, files::Dtype::f32, spec.shape(), std::as_bytes(std::span(values.back())));
  }
  std::string out;
  writer.write([&](std::span<const std::byte> b) { out.append(reinterpret_cast<const char*>(b.data()), b.size()); });
  return out;
}

void write_checkpoint(const fs::path& run, std::int64_t step) {
  files::CheckpointWriter writer(run, step);
  writer.add("config.json", files::dump_pretty(model::config_json(tiny())));
  writer.add("model.safetensors", safetensors_of(tiny(), 0.5f));
  writer.finish();
}

void expect_refused(const Outcome& outcome, std::string_view says) {
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
}

TEST(Inspect, CountsTheWeightsAndBytesOfAModelFolder) {
  const TemporaryFolder folder;
  write_file(folder / "config.json", files::dump_pretty(model::config_json(tiny())));
  write_file(folder / "model.safetensors", safetensors_of(tiny(), 0.5f));
  const Json found = inspect_json(folder.path());
  EXPECT_EQ(found["kind"], "model folder");
  EXPECT_EQ(found["format"], "w4a4");
  // 40 x 64 twice for embedding and head; q, o 64 x 64, k, v 32 x 64, three of 96 x 64; three norms of 64.
  const std::int64_t weights = 2 * 40 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64 + 3 * 64;
  EXPECT_EQ(found["config"]["parameters"], weights);
  EXPECT_EQ(found["bytes"], 4 * weights);
  EXPECT_EQ(found["bits_per_weight"], 32.0);
  EXPECT_EQ(found["parts"][1]["part"], "blocks");
  EXPECT_EQ(found["parts"][1]["tensors"], 7);
  EXPECT_EQ(inspect(folder.path() / "").exit_code, 0) << "with a slash at the end";

  write_file(folder / "model.safetensors", safetensors_of(tiny(), 0.0f / 0.0f));
  expect_refused(inspect(folder.path()), "nan");
}

TEST(Inspect, ARunFolderWithADamagedCheckpointShowsAllAndExitsWith2) {
  const TemporaryFolder run;
  write_file(run / "run.json", "{}");
  write_checkpoint(run.path(), 10);
  write_checkpoint(run.path(), 20);
  Json found = inspect_json(run.path());
  EXPECT_EQ(found["kind"], "run folder");
  EXPECT_EQ(found["model"]["path"], (run / "checkpoints/step-20").string());
  EXPECT_TRUE(found["damaged"].empty());

  const fs::path weights = run / "checkpoints/step-20/model.safetensors";
  std::string bytes = read_file(weights);
  bytes.back() ^= 1;
  write_file(weights, bytes);
  found = inspect_json(run.path(), 2);
  EXPECT_EQ(found["checkpoints"][0]["complete"], true);
  EXPECT_EQ(found["checkpoints"][1]["complete"], false);
  EXPECT_EQ(found["damaged"].size(), 1u);
  EXPECT_EQ(found["model"]["path"], (run / "checkpoints/step-10").string());
  expect_refused(inspect(run / "checkpoints/step-20"), "was changed");
  EXPECT_EQ(inspect_json(run / "checkpoints/step-10")["kind"], "checkpoint");
}

TEST(Inspect, ADataFolderIsReadToTheLastByte) {
  const TemporaryFolder folder;
  files::TokenShardWriter writer(folder / "train.lbd", 300, 0, true);
  const std::uint32_t ids[] = {1, 2, 299};
  writer.begin_document();
  writer.add(ids, 11);
  writer.commit();
  const Json found = inspect_json(folder.path());
  EXPECT_EQ(found["kind"], "data folder");
  EXPECT_EQ(found["train"]["tokens"], 3);
  EXPECT_EQ(found["train"]["text_bytes"], 11);
  EXPECT_EQ(inspect_json(folder / "train.lbd")["vocabulary"], 300);
  std::string bytes = read_file(folder / "train.lbd");
  bytes[bytes.size() / 2] ^= 1;
  write_file(folder / "train.lbd", bytes);
  expect_refused(inspect(folder.path()), "train.lbd");
}

TEST(Inspect, ListsTheTensorsOfASafetensorsFile) {
  const TemporaryFolder folder;
  write_file(folder / "x.safetensors", safetensors_of(tiny(), 1));
  const Json found = inspect_json(folder / "x.safetensors");
  EXPECT_EQ(found["kind"], "safetensors");
  EXPECT_EQ(found["tensors"][0]["name"], "model.embed_tokens.weight");
  EXPECT_EQ(found["tensors"][0]["shape"], Json({40, 64}));
  EXPECT_NE(inspect(folder / "x.safetensors").out.find("[40, 64]"), std::string::npos);
}

TEST(Inspect, WhatItDoesNotKnowIsRefused) {
  const TemporaryFolder folder;
  expect_refused(inspect(folder.path()), "no model, run or data folder");
  expect_refused(inspect(folder / "absent"), "no file or folder");
  write_file(folder / "poem.txt", "Roses are red, and other things are other colours.\n");
  expect_refused(inspect(folder / "poem.txt"), "poem.txt");
  write_file(folder / "empty", "");
  expect_refused(inspect(folder / "empty"), "is empty");
}

TEST(Inspect, KnowsThePublishedModelAndItsTokenizer) {
  LOWBIT_NEEDS_DATA();
  const Json found = inspect_json(data_folder() / "models/stories260K");
  EXPECT_EQ(found["format"], "f32");
  EXPECT_EQ(found["bits_per_weight"], 32.0);
  EXPECT_EQ(inspect_json(data_folder() / "models/stories260K/tok512.bin")["vocabulary"], 512);
}

}  // namespace
}  // namespace lowbit::test
