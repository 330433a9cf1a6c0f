#include "lowbit/files/run_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint_case.h"
#include "expect_error.h"
#include "support/data.h"

namespace lowbit::files {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::write_checkpoint;

TEST(RunFolder, IsMadeWithItsParentsAndKnowsWhetherARunHadBegun) {
  const test::TemporaryFolder base;
  const fs::path path = base / "a/b/run";
  {
    const RunFolder run(path);
    EXPECT_FALSE(run.existed());
    EXPECT_EQ(run.metrics(), path / "metrics.jsonl");
  }
  EXPECT_FALSE(RunFolder(path).existed()) << "only the lock was there";
  write_file(path / "run.json", "{}");
  EXPECT_TRUE(RunFolder(path).existed());
  EXPECT_EQ(read_file(path / "run.json"), "{}");
}

TEST(RunFolder, AFolderWithOtherThingsOrAFileIsRefusedAndLeftAlone) {
  const test::TemporaryFolder base;
  fs::create_directory(base / "other");
  write_file(base / "other/thesis.tex", "text");
  expect_error(ErrorKind::input, {"other", "thesis.tex", "not a run folder", "--out"},
               [&] { RunFolder run(base / "other"); });
  EXPECT_EQ(std::distance(fs::directory_iterator(base / "other"), {}), 1);
  expect_error(ErrorKind::input, {"is a file"}, [&] { RunFolder run(base / "other/thesis.tex"); });
  expect_error(ErrorKind::input, {"cannot make"}, [&] { RunFolder run(base / "other/thesis.tex/run"); });
}

TEST(RunFolder, ASecondProcessIsToldWhoHasIt) {
  const test::TemporaryFolder base;
  int ready[2], stop[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(stop), 0);
  const pid_t child = fork();
  if (child == 0) {
    const RunFolder run(base / "run");
    char byte = 1;
    close(stop[1]);
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    [[maybe_unused]] const auto got = read(stop[0], &byte, 1);  // ends when the parent closes or dies
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  expect_error(ErrorKind::usage, {"run", "in use by process " + std::to_string(child)},
               [&] { RunFolder run(base / "run"); });
  // Looking at it is allowed all the while.
  EXPECT_NO_THROW(newest_complete(base / "run"));
  close(stop[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_NO_THROW(RunFolder run(base / "run")) << "the lock goes with the process, however it ended";
  for (const int fd : {ready[0], ready[1], stop[0]}) close(fd);
}

TEST(RunFolder, OneThatCannotBeWrittenIsRefused) {
  const test::TemporaryFolder base;
  fs::create_directory(base / "run");
  write_file(base / "run/run.json", "{}");
  fs::permissions(base.path(), fs::perms(0555));
  fs::permissions(base / "run", fs::perms(0555));
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);  // to root every folder is writable
    expect_error(ErrorKind::input, {"run", "cannot write", "Permission denied", "--out"},
                 [&] { RunFolder run(base / "run"); });
    expect_error(ErrorKind::input, {"new", "cannot make", "Permission denied"}, [&] { RunFolder run(base / "new"); });
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  fs::permissions(base.path(), fs::perms(0755));
  fs::permissions(base / "run", fs::perms(0755));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "runs as root and cannot become another user";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RunFolder, OpeningClearsWhatADeadProcessLeft) {
  const test::TemporaryFolder base;
  write_checkpoint(base.path(), 4);
  for (const char* name : {"run.json", "run.json.tmp-12-0", "metrics.jsonl.tmp-12-3"}) write_file(base / name, "x");
  fs::create_directories(base / "checkpoints/.step-5.tmp-12");
  const RunFolder run(base.path());
  EXPECT_FALSE(fs::exists(base / "run.json.tmp-12-0"));
  EXPECT_FALSE(fs::exists(base / "metrics.jsonl.tmp-12-3"));
  EXPECT_FALSE(fs::exists(base / "checkpoints/.step-5.tmp-12"));
  EXPECT_TRUE(fs::exists(base / "run.json"));
  EXPECT_EQ(newest_complete(base.path(), Verify::hashes)->step, 4);
}

TEST(ResolveModel, TakesAModelFolderOrARunFoldersNewestCompleteCheckpoint) {
  const test::TemporaryFolder base;
  fs::create_directories(base / "model");
  write_file(base / "model/config.json", "{}");
  EXPECT_EQ(resolve_model(base / "model"), base / "model");

  expect_error(ErrorKind::input, {"no model folder", "absent"}, [&] { resolve_model(base / "absent"); });
  expect_error(ErrorKind::input, {"is a file"}, [&] { resolve_model(base / "model/config.json"); });
  fs::create_directories(base / "other");
  expect_error(ErrorKind::input, {"neither a model folder nor a run folder"}, [&] { resolve_model(base / "other"); });

  fs::create_directories(base / "run");
  write_file(base / "run/run.json", "{}");
  expect_error(ErrorKind::input, {"no complete checkpoint"}, [&] { resolve_model(base / "run"); });
  write_checkpoint(base / "run", 8);
  write_checkpoint(base / "run", 16);
  EXPECT_EQ(resolve_model(base / "run"), base / "run/checkpoints/step-16");
  fs::remove(base / "run/checkpoints/step-16/state.json");
  EXPECT_EQ(resolve_model(base / "run"), base / "run/checkpoints/step-8");
}

}  // namespace
}  // namespace lowbit::files
