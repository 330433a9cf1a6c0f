#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "checkpoint_case.h"
#include "expect_error.h"
#include "lowbit/files/run_folder.h"
#include "support/data.h"

// What a run promises: whatever call fails, and whenever the process dies, the newest complete checkpoint is whole, is
// the last or the last but one, and going on gives what an undisturbed run gives.
namespace lowbit::files {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::Fault;
using test::holds_its_step;
using test::write_checkpoint;

constexpr std::int64_t kSteps[] = {10, 20, 30, 30};  // the last is written again, as after a resume from 20

/// What a trainer does with its checkpoints. `done` counts the checkpoints that were written.
void train(const fs::path& run, int& done) {
  RunFolder folder(run);
  for (; done < 4; ++done) {
    const std::int64_t step = kSteps[done];
    write_checkpoint(run, step);
    prune_checkpoints(run, 2, step);
  }
}

/// `done` checkpoints were finished, and then something went wrong.
void expect_whole(const fs::path& run, int done) {
  for (const Checkpoint& checkpoint : list_checkpoints(run)) {
    EXPECT_NO_THROW(verify_checkpoint(checkpoint, Verify::hashes)) << checkpoint.folder;
    EXPECT_TRUE(holds_its_step(checkpoint)) << checkpoint.folder;
  }
  const auto newest = newest_complete(run, Verify::hashes);
  if (done == 0 && !newest) return;
  ASSERT_TRUE(newest);
  EXPECT_TRUE((done > 0 && newest->step == kSteps[done - 1]) || newest->step == kSteps[std::min(done, 3)])
      << newest->step;
}

void expect_finished(const fs::path& run) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"step-20", "step-30"}));
  expect_whole(run, 4);
  names.clear();
  for (const auto& entry : fs::directory_iterator(run)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"checkpoints", "lock"}));
}

/// How many calls an undisturbed run makes that can fail. swap: whether the file system can exchange folders.
int count_calls(bool swap) {
  const test::TemporaryFolder folder;
  int calls = 0;
  const Fault fault([&](std::string_view call) {
    ++calls;
    return call == "exchange" && !swap ? EINVAL : 0;
  });
  int done = 0;
  train(folder / "run", done);
  expect_finished(folder / "run");
  return calls;
}

class CheckpointFaults : public testing::TestWithParam<bool> {};

TEST_P(CheckpointFaults, EachCallThatFailsOnceLeavesWholeCheckpointsAndTheRunGoesOn) {
  const bool swap = GetParam();
  const int calls = count_calls(swap);
  ASSERT_GT(calls, 70);
  for (int n = 1; n <= calls; ++n) {
    SCOPED_TRACE(n);
    const test::TemporaryFolder folder;
    int call_number = 0, done = 0;
    std::string failed;
    const Fault fault([&](std::string_view call) {
      if (++call_number == n && !(call == "exchange" && !swap)) {
        failed = call;
        return call == "write" ? ENOSPC : EIO;
      }
      return call == "exchange" && !swap ? EINVAL : 0;
    });
    try {
      train(folder / "run", done);
      EXPECT_EQ(failed, "") << "a failed call went unnoticed";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::failed) << error.what();
      EXPECT_NE(failed, "");
    }
    expect_whole(folder / "run", done);
    train(folder / "run", done);
    expect_finished(folder / "run");
  }
}

TEST_P(CheckpointFaults, DeathBeforeAnyCallLeavesWholeCheckpointsAndTheRunGoesOn) {
  const bool swap = GetParam();
  const int calls = count_calls(swap);
  for (int n = 1; n <= calls; ++n) {
    SCOPED_TRACE(n);
    const test::TemporaryFolder folder;
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      int call_number = 0, done = 0;
      file_fault = [&](std::string_view call) {
        if (++call_number == n) {
          [[maybe_unused]] const auto put = write(pipe_ends[1], &done, sizeof(done));
          _exit(137);  // no destructor runs, as with kill -9
        }
        return call == "exchange" && !swap ? EINVAL : 0;
      };
      train(folder / "run", done);
      _exit(0);
    }
    int status = 0, done = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 137);
    ASSERT_EQ(read(pipe_ends[0], &done, sizeof(done)), static_cast<ssize_t>(sizeof(done)));
    close(pipe_ends[0]);
    close(pipe_ends[1]);

    if (fs::exists(folder / "run")) {
      // Without a swap there is a moment in which step 30 has no name; the next start gives it back.
      if (!swap && done == 3) RunFolder recover(folder / "run");
      expect_whole(folder / "run", done);
    }
    const Fault fault([&](std::string_view call) { return call == "exchange" && !swap ? EINVAL : 0; });
    train(folder / "run", done);
    expect_finished(folder / "run");
  }
}

INSTANTIATE_TEST_SUITE_P(Swap, CheckpointFaults, testing::Values(true, false),
                         [](const auto& test) { return test.param ? "Exchange" : "TwoRenames"; });

/// Runs `act` in a process of its own. returns its exit code; act's failed expectations make it 1.
template <class F>
int in_child(F&& act) {
  const pid_t child = fork();
  if (child == 0) {
    int code = 1;
    try {
      code = act();
    } catch (const std::exception& error) {
      fprintf(stderr, "%s\n", error.what());
    }
    _exit(testing::Test::HasFailure() ? 1 : code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST(CheckpointFullDisk, AWriteThatTheSystemCutsShortLeavesTheLastCheckpoint) {
  // A limit on file size stands in for a full disk: the system itself takes part of a write and refuses the rest.
  const test::TemporaryFolder folder;
  EXPECT_EQ(in_child([&] {
              write_checkpoint(folder.path(), 1);
              signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{700'000, 700'000};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
              expect_error(ErrorKind::failed, {"cannot write", "model.safetensors", "too large"},
                           [&] { write_checkpoint(folder.path(), 2); });
              return 0;
            }),
            0);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "checkpoints"), {}), 1);
  const auto newest = newest_complete(folder.path(), Verify::hashes);
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->step, 1);
}

TEST(CheckpointFullDisk, NoSpaceLeftOnARealFileSystemSaysSoAndKeepsTheLastCheckpoint) {
  const test::TemporaryFolder folder;
  if (mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=3m") != 0)
    GTEST_SKIP() << "mounting is not permitted here";
  {
    const fs::path run = folder / "run";
    int done = 0;
    // Two checkpoints of a little over 1 MiB fit, a third beside them does not.
    expect_error(ErrorKind::failed, {"cannot write", "No space left on device"}, [&] { train(run, done); });
    EXPECT_EQ(done, 2);
    expect_whole(run, done);
    EXPECT_EQ(newest_complete(run, Verify::hashes)->step, 20);
    EXPECT_EQ(list_checkpoints(run).size(), 2u);
    std::error_code ignored;
    fs::remove_all(run / "checkpoints/step-10", ignored);  // the user makes room
    write_checkpoint(run, 30);
    EXPECT_EQ(newest_complete(run, Verify::hashes)->step, 30);
  }
  EXPECT_EQ(umount(folder.path().c_str()), 0);
}

}  // namespace
}  // namespace lowbit::files
