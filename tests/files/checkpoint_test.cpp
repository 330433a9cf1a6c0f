#include "lowbit/files/checkpoint.h"

#include <gtest/gtest.h>

#include "checkpoint_case.h"
#include "expect_error.h"
#include "lowbit/base/hash.h"
#include "support/data.h"

namespace lowbit::files {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::Fault;
using test::holds_its_step;
using test::write_checkpoint;

std::vector<std::int64_t> steps_in(const fs::path& run) {
  std::vector<std::int64_t> steps;
  for (const Checkpoint& checkpoint : list_checkpoints(run)) steps.push_back(checkpoint.step);
  return steps;
}

void change_a_byte(const fs::path& path) {
  std::string bytes = read_file(path);
  bytes[bytes.size() / 2] ^= 1;
  write_file(path, bytes);
}

TEST(Checkpoint, TheManifestListsEveryFileWithSizeAndHash) {
  const test::TemporaryFolder run;
  CheckpointWriter writer(run.path(), 40);
  writer.add("config.json", "{}\n");
  writer.add("model.safetensors", [](const ByteSink& sink) {
    sink(std::as_bytes(std::span("ab", 2)));
    sink({});
    sink(std::as_bytes(std::span("c", 1)));
  });
  EXPECT_EQ(newest_complete(run.path()), std::nullopt) << "nothing has the final name before finish";
  const fs::path folder = writer.finish();
  EXPECT_EQ(folder, run.path() / "checkpoints/step-40");
  // The hashes are XXH3-64 of "{}\n" and "abc", as the Python package xxhash prints them.
  EXPECT_EQ(read_file(folder / "manifest.json"), R"({
  "version": 1,
  "step": 40,
  "files": [
    {
      "name": "config.json",
      "bytes": 3,
      "xxh3": "daa13e4f205dc5ba"
    },
    {
      "name": "model.safetensors",
      "bytes": 3,
      "xxh3": "78af5f94892f3950"
    }
  ]
}
)");
  EXPECT_EQ(read_file(folder / "model.safetensors"), "abc");
  const auto newest = newest_complete(run.path(), Verify::hashes);
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->step, 40);
  EXPECT_EQ(newest->folder, folder);
}

TEST(Checkpoint, AnUnfinishedOneLeavesNothing) {
  const test::TemporaryFolder run;
  write_checkpoint(run.path(), 1);
  {
    CheckpointWriter writer(run.path(), 2);
    writer.add("a", "b");
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(run / "checkpoints"), {}), 1);
  EXPECT_EQ(newest_complete(run.path())->step, 1);
}

TEST(Checkpoint, TheNewestIsByNumberAndOtherNamesAreIgnored) {
  const test::TemporaryFolder run;
  EXPECT_EQ(newest_complete(run.path()), std::nullopt);
  for (const int step : {9, 100, 20}) write_checkpoint(run.path(), step);
  for (const char* name :
       {"step-", "step-0200", "step-1e9", "step--5", "step-300x", "step-99999999999999999999", "other"})
    fs::create_directory(run / "checkpoints" / name);
  EXPECT_EQ(steps_in(run.path()), (std::vector<std::int64_t>{9, 20, 100}));
  EXPECT_EQ(newest_complete(run.path())->step, 100);
}

TEST(Checkpoint, ADamagedNewestIsPassedOverWithALineThatNamesTheFile) {
  struct Case {
    std::string_view says;
    bool only_hashes;
    std::function<void(const fs::path&)> damage;
  };
  const Case cases[] = {
      {"manifest.json", false, [](const fs::path& f) { fs::remove(f / "manifest.json"); }},
      {"not JSON", false, [](const fs::path& f) { fs::resize_file(f / "manifest.json", 50); }},
      {"lists no files", false,
       [](const fs::path& f) { write_file(f / "manifest.json", "{\"version\": 1, \"step\": 2, \"files\": []}"); }},
      {"step 1 in folder step-2", false,
       [](const fs::path& f) { write_file(f / "manifest.json", read_file(f / "../step-1/manifest.json")); }},
      {"version 2", false,
       [](const fs::path& f) { write_file(f / "manifest.json", R"({"version": 2, "step": 2, "files": []})"); }},
      {"no file name", false,
       [](const fs::path& f) {
         write_file(f / "manifest.json",
                    R"({"version":1,"step":2,"files":[{"name":"../a","bytes":0,"xxh3":"0000000000000000"}]})");
       }},
      {"hexadecimal", false,
       [](const fs::path& f) {
         write_file(f / "manifest.json", R"({"version":1,"step":2,"files":[{"name":"empty","bytes":0,"xxh3":"zz"}]})");
       }},
      {"state.json", false, [](const fs::path& f) { fs::remove(f / "state.json"); }},
      {"optimizer.safetensors has 3 bytes", false,
       [](const fs::path& f) { fs::resize_file(f / "optimizer.safetensors", 3); }},
      {"model.safetensors was changed", true, [](const fs::path& f) { change_a_byte(f / "model.safetensors"); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.says);
    const test::TemporaryFolder run;
    write_checkpoint(run.path(), 1);
    write_checkpoint(run.path(), 2);
    c.damage(run / "checkpoints/step-2");
    EXPECT_EQ(newest_complete(run.path(), Verify::sizes)->step, c.only_hashes ? 2 : 1);
    std::vector<std::string> lines;
    const auto newest =
        newest_complete(run.path(), Verify::hashes, [&](std::string_view line) { lines.emplace_back(line); });
    ASSERT_TRUE(newest);
    EXPECT_EQ(newest->step, 1);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("step-2"), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find(c.says), std::string::npos) << lines[0];
  }
}

TEST(Checkpoint, EveryChangedByteOfAManifestOrFileIsNoticed) {
  const test::TemporaryFolder run;
  CheckpointWriter writer(run.path(), 7);
  writer.add("a.json", "[1, 2]");
  writer.add("b", "text");
  const fs::path folder = writer.finish();
  for (const char* name : {"manifest.json", "a.json", "b"}) {
    const std::string good = read_file(folder / name);
    for (std::size_t i = 0; i < good.size(); ++i) {
      if (good[i] == ' ' || good[i] == '\n') continue;  // a space for a newline is the same JSON
      std::string bad = good;
      bad[i] ^= 4;
      write_file(folder / name, bad);
      EXPECT_EQ(newest_complete(run.path(), Verify::hashes), std::nullopt) << name << " byte " << i << " " << good[i];
    }
    write_file(folder / name, good);
  }
  EXPECT_TRUE(newest_complete(run.path(), Verify::hashes));
}

TEST(Checkpoint, AStepThatIsWrittenAgainReplacesTheOldOne) {
  for (const bool exchange : {true, false}) {
    const test::TemporaryFolder run;
    CheckpointWriter old(run.path(), 5);
    old.add("only-in-old", "x");
    old.finish();
    const Fault fault([&](std::string_view call) { return call == "exchange" && !exchange ? EINVAL : 0; });
    write_checkpoint(run.path(), 5);
    const auto newest = newest_complete(run.path(), Verify::hashes);
    ASSERT_TRUE(newest);
    EXPECT_TRUE(holds_its_step(*newest));
    EXPECT_FALSE(fs::exists(newest->folder / "only-in-old"));
    EXPECT_EQ(std::distance(fs::directory_iterator(run / "checkpoints"), {}), 1) << "the old one is gone";
  }
}

TEST(Checkpoint, PruningKeepsTheNewestCompleteOnesUpToTheOneJustWritten) {
  const test::TemporaryFolder run;
  for (const int step : {1, 2, 3, 4, 5}) write_checkpoint(run.path(), step);
  prune_checkpoints(run.path(), 3, 5);
  EXPECT_EQ(steps_in(run.path()), (std::vector<std::int64_t>{3, 4, 5}));
  prune_checkpoints(run.path(), 3, 5);
  EXPECT_EQ(steps_in(run.path()), (std::vector<std::int64_t>{3, 4, 5}));
  prune_checkpoints(run.path(), 1, 5);
  EXPECT_EQ(steps_in(run.path()), (std::vector<std::int64_t>{5}));
  EXPECT_EQ(std::distance(fs::directory_iterator(run / "checkpoints"), {}), 1);
}

TEST(Checkpoint, PruningNeverCountsADamagedOneOrALaterStepInPlaceOfAGoodOne) {
  const test::TemporaryFolder run;
  for (const int step : {1, 2, 3, 9}) write_checkpoint(run.path(), step);
  change_a_byte(run / "checkpoints/step-9/model.safetensors");  // why the run went on from an earlier step
  fs::remove(run / "checkpoints/step-2/state.json");
  prune_checkpoints(run.path(), 2, 3);
  EXPECT_EQ(steps_in(run.path()), (std::vector<std::int64_t>{1, 2, 3, 9}));
  prune_checkpoints(run.path(), 1, 3);
  EXPECT_EQ(steps_in(run.path()), (std::vector<std::int64_t>{3, 9}));
  EXPECT_EQ(newest_complete(run.path(), Verify::hashes)->step, 3);
}

TEST(Checkpoint, CleaningRemovesWhatDeadWritersLeftAndNothingElse) {
  const test::TemporaryFolder run;
  clean_checkpoints(run.path());  // no checkpoints folder at all
  write_checkpoint(run.path(), 1);
  write_checkpoint(run.path(), 2);
  fs::create_directories(run / "checkpoints/.step-3.tmp-123/sub");
  fs::create_directories(run / "checkpoints/.step-2.old-123");
  fs::rename(run / "checkpoints/step-1", run / "checkpoints/.step-1.old-123");  // died between two renames
  fs::create_directories(run / "checkpoints/.mine");
  fs::create_directories(run / "checkpoints/.notes.tmp-1");
  clean_checkpoints(run.path());
  EXPECT_EQ(steps_in(run.path()), (std::vector<std::int64_t>{1, 2}));
  EXPECT_TRUE(holds_its_step({run / "checkpoints/step-1", 1}));
  EXPECT_TRUE(fs::exists(run / "checkpoints/.mine"));
  EXPECT_TRUE(fs::exists(run / "checkpoints/.notes.tmp-1"));
  EXPECT_EQ(std::distance(fs::directory_iterator(run / "checkpoints"), {}), 4);
}

}  // namespace
}  // namespace lowbit::files
