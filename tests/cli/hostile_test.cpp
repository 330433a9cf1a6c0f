// Files, folders and names that are not what they should be, as a user meets them: one line, exit code 2, soon.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cli/process.h"
#include "lowbit/files/json.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/model/config.h"
#include "lowbit/model/tensors.h"
#include "lowbit/text/tokenizer_train.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

Outcome lowbit(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
  return run_program(arguments);
}

void expect_refusal(const std::vector<std::string>& arguments, const std::string& part = "") {
  std::string words;
  for (const std::string& word : arguments) words += word.substr(0, 60) + " ";
  SCOPED_TRACE(words);
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = lowbit(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_LT(outcome.err.size(), 5000u);
  EXPECT_EQ(outcome.err.find("unexpected"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

void put(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A model folder with a tokenizer; every weight has this size.
void make_model(const fs::path& folder, float size) {
  fs::create_directories(folder);
  model::ModelDescription d;
  d.scheme = default_scheme(parse_format("f32"));
  model::Config& c = d.config;
  c.layers = 1;
  c.width = c.mlp = 16;
  c.heads = c.kv_heads = 2;
  c.head_dim = 8;
  c.vocab = 300;
  c.positions = 64;
  put(folder / "config.json", files::dump_pretty(model::config_json(d)));
  files::SafetensorsWriter writer;
  std::vector<std::vector<float>> values;
  for (const model::TensorSpec& spec : model::tensors(c))
    values.emplace_back(static_cast<std::size_t>(spec.elements()), size);
  std::size_t i = 0;
  for (const model::TensorSpec& spec : model::tensors(c))
    writer.add(spec.name, files::Dtype::f32, spec.shape(), std::span<const float>(values[i++]));
  writer.write(folder / "model.safetensors");
  text::TokenizerTrainer trainer(300);
  for (int n = 0; n < 100; ++n) trainer.add("the house of " + std::to_string(n) + " is the other house\n");
  put(folder / "tokenizer.model", trainer.train());
}

/// Every way that a path can be wrong.
std::vector<std::string> odd_paths(const TemporaryFolder& folder) {
  fs::create_symlink(folder / "loop", folder / "loop");
  put(folder / "file", "x");
  if (mkfifo((folder / "pipe").c_str(), 0666) != 0) throw std::runtime_error("no FIFO");
  std::vector<std::string> paths{
      (folder / "loop").string(),
      (folder / "loop/inside").string(),
      (folder / "file/inside").string(),
      (folder / std::string(300, 'n')).string(),
      (folder.path() / std::string(300, 'n') / "inside").string(),
      (folder / "line\nbreak\x1b[31m").string(),
      (folder / "none").string(),
      std::string(5000, '/') + "x",
      std::string(100000, 'p'),
      "/dev/zero",
      "/dev/null",
      "/proc/self/mem",
  };
  return paths;
}

TEST(Hostile, PathsOfEveryOddKindAreRefused) {
  const TemporaryFolder folder;
  make_model(folder / "model", 0.1f);
  put(folder / "text.txt", "the house\n");
  const std::string model = (folder / "model").string(), text = (folder / "text.txt").string();
  for (const std::string& path : odd_paths(folder)) {
    expect_refusal({"run", "--model", path, "--prompt", "a"});
    expect_refusal({"inspect", path});
    expect_refusal({"report", path});
    expect_refusal({"fit", "--in", path});
    expect_refusal({"eval", "--model", path, "--data", text});
    expect_refusal({"pack", "--model", path, "--out", (folder / "out").string()});
    expect_refusal({"tokenizer", "inspect", "--tokenizer", path});
    expect_refusal({"sweep", "--config", path, "--out", (folder / "out").string()});
    if (path != "/dev/null") expect_refusal({"run", "--config", path, "--model", model, "--prompt", "a"});
    if (path != "/dev/null") expect_refusal({"run", "--model", model, "--prompt-file", path});
  }
  EXPECT_FALSE(fs::exists(folder / "out"));
}

TEST(Hostile, AModelFolderMayHoldNoPipesDevicesOrLoops) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.model"})
    for (const char* kind : {"pipe", "device", "loop", "folder"}) {
      SCOPED_TRACE(std::string(name) + " " + kind);
      const TemporaryFolder folder;
      make_model(folder / "model", 0.1f);
      const fs::path file = folder / "model" / name;
      fs::remove(file);
      if (kind == std::string_view("pipe")) ASSERT_EQ(mkfifo(file.c_str(), 0666), 0);
      if (kind == std::string_view("device")) fs::create_symlink("/dev/zero", file);
      if (kind == std::string_view("loop")) fs::create_symlink(file, file);
      if (kind == std::string_view("folder")) fs::create_directory(file);
      expect_refusal({"run", "--model", (folder / "model").string(), "--prompt", "a"}, folder.path().string());
    }
}

TEST(Hostile, APromptMayComeFromAPipe) {
  const TemporaryFolder folder;
  make_model(folder / "model", 0.1f);
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0666), 0);
  std::thread writer([&] { std::ofstream(pipe) << "the house"; });
  const Outcome outcome =
      lowbit({"run", "--model", (folder / "model").string(), "--prompt-file", pipe.string(), "--max-tokens", "2"});
  writer.join();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("the house")) << outcome.out;
}

TEST(Hostile, LogitsThatAreNotNumbersEndTheRunWithALine) {
  const TemporaryFolder folder;
  make_model(folder / "model", 1e18f);  // finite as stored; their products are not
  const Outcome outcome = lowbit({"run", "--model", (folder / "model").string(), "--prompt", "the house", "--quiet"});
  EXPECT_EQ(outcome.exit_code, 1) << outcome.out;
  EXPECT_NE(outcome.err.find("not a number"), std::string::npos) << outcome.err;
  EXPECT_EQ(line_count(outcome.err), 1);
}

TEST(Hostile, DeepAndHugeFilesAreRefusedOrPassedOver) {
  const TemporaryFolder folder;
  std::string deep(33000, '[');
  deep += std::string(33000, ']');
  put(folder / "run/run.json", "{\"flags\":{\"a\":" + deep + "}}");
  put(folder / "run/metrics.jsonl", deep + "\n");
  put(folder / "run/checkpoints/step-1/manifest.json", deep);
  const std::string run = (folder / "run").string();
  expect_refusal({"fit", "--in", run}, "run.json");
  EXPECT_LE(lowbit({"report", run}).exit_code, 2);
  EXPECT_LE(lowbit({"inspect", run}).exit_code, 2);
  std::string dotted = "a";
  for (int i = 0; i < 31000; ++i) dotted += ".a";
  put(folder / "deep.toml", dotted + "=1");
  expect_refusal({"run", "--config", (folder / "deep.toml").string(), "--model", "x"}, "deep.toml:1");
  expect_refusal({"sweep", "--config", (folder / "deep.toml").string(), "--out", (folder / "o").string()},
                 "deep.toml:1");
  put(folder / "long.toml", std::string(900000, 'k') + " = 1\n");
  expect_refusal({"run", "--config", (folder / "long.toml").string(), "--model", "x"}, "long.toml:1");
  expect_refusal({std::string(100000, 'v')});
  expect_refusal({"run", "--" + std::string(100000, 'f')});
}

}  // namespace
}  // namespace lowbit::test
