#include <gtest/gtest.h>

#include <filesystem>

#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/model/model_folder.h"
#include "model/make_folder.h"
#include "train/support.h"

// Runs that start from a folder of another program.
namespace lowbit::test {
namespace {

namespace fs = std::filesystem;
using files::Json;
using Ids = std::vector<std::int64_t>;

void make_start(const fs::path& folder, bool sharded) {
  const RawTensors tensors = random_tensors(small_model());
  write_config(folder, small_model(), [](Json& json) { json["eos_token_id"] = {2, 7}, json["bos_token_id"] = 1; });
  write_file(folder / "generation_config.json", R"({"eos_token_id": [9, 2]})");
  write_file(folder / "added_tokens.json", R"({"<|im|>": 280})");
  write_file(folder / "tokenizer.model", tokenizer_bytes({"he"}));
  if (sharded)
    write_shards(folder, tensors, 3);
  else
    write_safetensors(folder / "model.safetensors", tensors);
}

std::vector<std::string> train(const fs::path& batches, const fs::path& init, const fs::path& out, int steps) {
  return {train_program(), "train",
          "--batches",     batches.string(),
          "--init",        init.string(),
          "--out",         out.string(),
          "--format",      "w4a4",
          "--batch",       "2",
          "--seq",         "16",
          "--vocab",       "300",
          "--steps",       std::to_string(steps),
          "--warmup",      "1",
          "--threads",     "1"};
}

TEST(TrainInit, ShardsEndTokensAndCompanionsSurviveCheckpointsAndResuming) {
  const TemporaryFolder whole, sharded, out;
  make_start(whole.path(), false);
  make_start(sharded.path(), true);
  write_batches(out / "batches", 8, 16, 1);
  for (const auto& [init, name] : {std::pair{whole.path(), "a"}, {sharded.path(), "b"}}) {
    const Outcome outcome = run_program(train(out / "batches", init, out / name, 4));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  EXPECT_EQ(differing_files(out / "a", out / "b", 4), "") << "sharded or not, the run is the same";
  const fs::path last = out / "b" / "checkpoints" / "step-4";
  EXPECT_EQ(model::ModelFolder(last).config().eos, (Ids{2, 7, 9}));
  EXPECT_EQ(files::read_json(last / "generation_config.json")["eos_token_id"], Json({2, 7, 9}));
  for (const char* name : {"added_tokens.json", "tokenizer.model"})
    EXPECT_EQ(read_file(last / name), read_file(sharded / name)) << name;

  // The folder that it started from may be gone by then.
  Outcome outcome = run_program(train(out / "batches", sharded.path(), out / "c", 2));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  fs::remove_all(sharded.path());
  outcome = run_program({train_program(), "train", "--resume", "--out", (out / "c").string(), "--steps", "4"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const fs::path resumed = out / "c" / "checkpoints" / "step-4";
  for (const char* name : {"config.json", "generation_config.json", "added_tokens.json", "tokenizer.model"})
    EXPECT_EQ(read_file(resumed / name), read_file(last / name)) << name;
}

}  // namespace
}  // namespace lowbit::test
