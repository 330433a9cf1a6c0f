#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "train/support.h"

// What a user may get wrong with train, run, eval, pack and logits: one line, exit code 2, nothing changed.
namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

/// Exit code 2 and a last line that begins with the program's name and holds `word`.
void expect_refused(const std::vector<std::string>& arguments, std::string_view word) {
  const Outcome outcome = run_program(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  const std::size_t at = outcome.err.rfind("lowbit");
  ASSERT_NE(at, std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find(word), std::string::npos) << outcome.err;
  EXPECT_TRUE(outcome.out.empty()) << outcome.out;
}

struct Trained {
  TemporaryFolder folder;
  fs::path batches = folder / "b", run = folder / "run", packed = folder / "packed", ids = folder / "ids";
  Trained() {
    write_batches(batches, 16, 32, 1);
    const Outcome outcome = run_program(small_run(batches, run, 4));
    if (outcome.exit_code != 0) throw std::runtime_error(outcome.err);
    const Outcome pack = run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()});
    if (pack.exit_code != 0) throw std::runtime_error(pack.err);
    std::ofstream(ids, std::ios::binary) << std::string("\x01\0\x02\0\x03\0", 6);
  }
  /// A copy of the packed model to damage.
  fs::path copy(const std::string& name) {
    fs::copy(packed, folder / name);
    return folder / name;
  }
  std::vector<std::string> logits(const fs::path& model) {
    return {lowbit_program(), "logits",     "--model", model.string(),
            "--ids",          ids.string(), "--out",   (folder / "out.npy").string()};
  }
};

void replace_in(const fs::path& file, const std::string& from, const std::string& to) {
  std::string text = bytes_of(file);
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  std::ofstream(file, std::ios::binary) << text;
}

TEST(BadInput, TrainRefusesWrongFlagsAndFiles) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = small_run(folder / "b", folder / "run", 4);
    for (std::size_t i = 0; i < more.size(); i += 2) {
      const auto at = std::find(arguments.begin(), arguments.end(), more[i]);
      if (at == arguments.end())
        arguments.insert(arguments.end(), {more[i], more[i + 1]});
      else
        *(at + 1) = more[i + 1];
    }
    return arguments;
  };
  expect_refused(run({"--format", "w9a9"}), "w9a9");
  expect_refused(run({"--head", "w2a2"}), "w2a2");
  expect_refused(run({"--lr", "-1"}), "--lr");
  expect_refused(run({"--steps", "100"}), "windows");
  expect_refused(run({"--width", "100", "--heads", "2"}), "Hadamard group");
  expect_refused(run({"--heads", "3"}), "multiple");
  expect_refused(run({"--vocab", "60"}), "vocabulary");
  expect_refused(run({"--transform", "hadamard-weights"}), "a16");
  expect_refused(run({"--schedule", "steps"}), "--schedule");
  expect_refused(run({"--isa", "sse9"}), "sse9");
  expect_refused(run({"--backward", "int4"}), "int8");
  expect_refused(run({"--backward", "int8", "--format", "bf16"}), "--format bf16");
  expect_refused(run({"--backward", "int8", "--format", "f32"}), "--format f32");
  expect_refused(run({"--threads", "-3"}), "thread");
  expect_refused(run({"--unknown-flag", "1"}), "unknown-flag");
  expect_refused(run({"--seq", "31"}), "whole number");
  expect_refused(run({"--init", (folder / "nothing").string()}), "nothing");
  expect_refused({train_program(), "train", "--data", (folder / "nothing").string(), "--size", "1m", "--tokens", "1000",
                  "--out", (folder / "run").string()},
                 "nothing");
  expect_refused({train_program(), "train", "--resume", "--out", (folder / "nowhere").string()}, "nowhere");
  std::ofstream(folder / "empty").close();
  expect_refused({train_program(), "train", "--batches", (folder / "empty").string(), "--batch", "1", "--seq", "8",
                  "--vocab", "64", "--size", "0.5m", "--steps", "1", "--out", (folder / "run").string()},
                 "empty");
}

TEST(BadInput, ARunFolderIsNotOverwrittenAndNotSharedByTwoProcesses) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  const auto arguments = small_run(folder / "b", folder / "run", 4);
  ASSERT_EQ(run_program(arguments).exit_code, 0);
  expect_refused(arguments, "--resume");
  fs::create_directory(folder / "other");
  std::ofstream(folder / "other" / "letter.txt") << "hello";
  expect_refused(small_run(folder / "b", folder / "other", 4), "other");
}

TEST(BadInput, APredictionThatDoesNotFitIsRefusedBeforeAnythingIsMade) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  expect_refused({train_program(), "train", "--batches", (folder / "b").string(),
                  "--batch",       "4",     "--seq",     "32",
                  "--vocab",       "64",    "--steps",   "4",
                  "--layers",      "1000",  "--width",   "65536",
                  "--heads",       "512",   "--out",     (folder / "run").string()},
                 "memory");
}

TEST(BadInput, DamagedModelsAreRefusedWithWhatIsWrong) {
  Trained t;
  ASSERT_EQ(run_program(t.logits(t.packed)).exit_code, 0);
  fs::remove(t.folder / "out.npy");
  expect_refused(t.logits(t.folder / "none"), "none");

  const fs::path cut = t.copy("cut");
  fs::resize_file(cut / "model.safetensors", fs::file_size(cut / "model.safetensors") - 1);
  expect_refused(t.logits(cut), "model.safetensors");

  const fs::path missing = t.copy("missing");
  replace_in(missing / "model.safetensors", "model.norm.weight", "model.norn.weight");
  expect_refused(t.logits(missing), "model.norm.weight");

  const fs::path shape = t.copy("shape");
  replace_in(shape / "config.json", "\"vocab_size\": 64", "\"vocab_size\": 65");
  expect_refused(t.logits(shape), "shape");

  const fs::path key = t.copy("key");
  replace_in(key / "config.json", "\"packed\"", "\"pakced\"");
  expect_refused(t.logits(key), "pakced");

  const fs::path biases = t.copy("biases");
  replace_in(biases / "config.json", "\"mlp_bias\": false", "\"mlp_bias\": true");
  expect_refused(t.logits(biases), "mlp_bias");

  const fs::path nan = t.copy("nan");
  std::string bytes = bytes_of(nan / "model.safetensors");
  // The norms are the last tensors; a float of all ones is a NaN.
  bytes.replace(bytes.size() - 4, 4, "\xff\xff\xff\xff");
  std::ofstream(nan / "model.safetensors", std::ios::binary) << bytes;
  expect_refused(t.logits(nan), "nan");
  EXPECT_FALSE(fs::exists(t.folder / "out.npy"));
}

TEST(BadInput, IdsOutsideTheVocabularyOrTooManyAreRefused) {
  Trained t;
  std::ofstream(t.ids, std::ios::binary) << std::string("\x01\0\x40\0", 4);
  expect_refused(t.logits(t.packed), "id 64");
  std::ofstream(t.ids, std::ios::binary) << std::string("\x01\0\x02", 3);
  expect_refused(t.logits(t.packed), "whole number");
  std::ofstream(t.ids, std::ios::binary) << std::string(2 * 33, '\0');
  expect_refused(t.logits(t.packed), "context");
  std::ofstream(t.ids, std::ios::binary) << std::string(2, '\0');
  expect_refused(plus(t.logits(t.packed), {"--engine", "walk"}), "walk");
  expect_refused(plus(t.logits(t.packed), {"--engine", "train"}), "packed");
}

TEST(BadInput, PackRefusesWhatIsPackedPlainOrInTheWay) {
  Trained t;
  const std::string out = (t.folder / "p").string();
  expect_refused({lowbit_program(), "pack", "--model", t.packed.string(), "--out", out}, "packed already");
  expect_refused({lowbit_program(), "pack", "--model", t.run.string(), "--out", t.packed.string()}, "--out");
  EXPECT_FALSE(fs::exists(out));
}

TEST(PackedModel, HasTheLogitsOfTheModelItWasPackedFromBitForBit) {
  Trained t;
  ASSERT_EQ(run_program(t.logits(t.packed)).exit_code, 0);
  const std::string packed = bytes_of(t.folder / "out.npy");
  ASSERT_EQ(run_program(t.logits(t.run)).exit_code, 0);
  EXPECT_TRUE(bytes_of(t.folder / "out.npy") == packed);
  const Outcome trained = run_program(plus(t.logits(t.run), {"--engine", "train"}));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_TRUE(bytes_of(t.folder / "out.npy") == packed);
}

}  // namespace
}  // namespace lowbit::test
