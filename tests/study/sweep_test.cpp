#include "lowbit/study/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "cli/process.h"
#include "files/expect_error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/laws/points.h"
#include "lowbit/study/child.h"
#include "lowbit/study/sweep_table.h"
#include "support/data.h"

namespace lowbit::study {
namespace {

namespace fs = std::filesystem;
using State = CellState::State;
using test::expect_error, test::Outcome, test::run_program, test::TemporaryFolder;

struct Seen {
  std::vector<CellState> cells;
  std::vector<std::string> started;  ///< by name
  std::size_t most_at_once = 0;
};

Seen run(const std::string& toml, const fs::path& out, int jobs = 2, bool dry = false) {
  SweepOptions options;
  options.out = out;
  options.program = LOWBIT_FAKE_TRAINER;
  options.jobs = jobs;
  options.dry_run = dry;
  Seen seen;
  seen.cells =
      sweep(parse_plan(toml, "s.toml"), options, [&](const std::vector<CellState>& cells, const CellState* changed) {
        if (changed && changed->state == State::running) seen.started.push_back(changed->cell.name);
        const auto n =
            std::count_if(cells.begin(), cells.end(), [](const CellState& c) { return c.state == State::running; });
        seen.most_at_once = std::max(seen.most_at_once, static_cast<std::size_t>(n));
      });
  return seen;
}

const std::string kFour = "[grid]\nformat = [\"w4a4\", \"w2a2\"]\nseed = [0, 1]\n";

TEST(Sweep, RunsEveryCellSeveralAtOnceAndWritesTheirResults) {
  const TemporaryFolder folder;
  const Seen seen = run(kFour, folder / "s");
  for (const CellState& c : seen.cells) EXPECT_EQ(c.state, State::done) << c.message;
  EXPECT_EQ(seen.started.size(), 4u);
  EXPECT_EQ(seen.most_at_once, 2u);
  const laws::Points points = laws::read_csv(read_file(folder / "s" / "results.csv"), "results.csv");
  ASSERT_EQ(points.points.size(), 4u);
  EXPECT_EQ(points.formats, (std::vector<std::string>{"w4a4", "w2a2"}));
  EXPECT_EQ(points.points[1].loss, 3.1);
  EXPECT_EQ(points.points[1].d, 10 * 1024);
}

TEST(Sweep, ASecondTimeNothingRunsAndAGrownGridRunsItsNewCells) {
  const TemporaryFolder folder;
  run(kFour, folder / "s");
  EXPECT_TRUE(run(kFour, folder / "s").started.empty());
  const Seen grown = run(kFour + "clip = [5, 6]\n", folder / "s");  // clip=5 is not the same as no clip
  EXPECT_EQ(grown.started.size(), 8u);
  const Seen more = run("[grid]\nformat = [\"w4a4\", \"w2a2\", \"w1a1\"]\nseed = [0, 1]\n", folder / "s");
  EXPECT_EQ(more.started.size(), 2u);
}

TEST(Sweep, AFailedCellStopsNoOtherAndIsTriedAgain) {
  const TemporaryFolder folder;
  const std::string toml = "[[cells]]\nlr = 666\n[[cells]]\nbatch = 0\n[[cells]]\nkeep = 77\n[[cells]]\nseed = 5\n";
  const Seen seen = run(toml, folder / "s", 1);
  ASSERT_EQ(seen.cells.size(), 4u);
  EXPECT_EQ(seen.cells[0].state, State::failed);
  EXPECT_EQ(seen.cells[0].message, "the loss became nan at step 3");
  EXPECT_EQ(seen.cells[1].state, State::failed);
  EXPECT_EQ(seen.cells[1].message, "killed by signal 9");
  EXPECT_EQ(seen.cells[2].state, State::failed);  // ended well, without the evaluation that counts
  EXPECT_NE(seen.cells[2].message.find("no held-out loss"), std::string::npos) << seen.cells[2].message;
  EXPECT_EQ(seen.cells[3].state, State::done);
  const laws::Points points = laws::read_csv(read_file(folder / "s" / "results.csv"), "results.csv");
  EXPECT_EQ(points.points.size(), 1u);
  // Gone on with behind the step that failed, so it ends.
  const Seen again = run(toml, folder / "s", 1);
  EXPECT_EQ(again.cells[0].state, State::done);
  EXPECT_EQ(again.started.size(), 3u);
}

TEST(Sweep, ARunWithoutItsLastStepIsNotDoneWhateverElseItsFolderHolds) {
  const TemporaryFolder folder;
  const Seen seen = run("[grid]\nseed = 1\n", folder / "s");
  const fs::path metrics = seen.cells[0].folder / "metrics.jsonl";
  std::string text = read_file(metrics);
  text.erase(text.find("{\"kind\":\"step\",\"step\":8"));
  std::ofstream(metrics) << text << "{\"kind\":\"step\",\"st";  // torn, as a killed run leaves it
  std::ofstream(seen.cells[0].folder / "report.html") << "finished";
  const Seen again = run("[grid]\nseed = 1\n", folder / "s");
  EXPECT_EQ(again.started.size(), 1u);
  EXPECT_EQ(again.cells[0].state, State::done);
}

TEST(Sweep, AnImpossibleCellIsNamedBeforeAnythingRuns) {
  const TemporaryFolder folder;
  expect_error(
      ErrorKind::usage,
      {"s.toml [grid]", "format=w2a2 heads=3", "not a multiple of --heads 3", "2 cells in all", "nothing was started"},
      [&] { run("[grid]\nformat = [\"w2a2\", \"w4a4\"]\nheads = [2, 3]\n", folder / "s"); });
  expect_error(ErrorKind::usage, {"s.toml:3", "no held-out text"},
               [&] { run("[[cells]]\nseq = 2\n[[cells]]\nseq = 1\n", folder / "s"); });
  expect_error(ErrorKind::input, {"2 runs at once", "memory", "--jobs"},
               [&] { run("[grid]\nmlp = 9\nseed = [1, 2]\n", folder / "s"); });
  for (const auto& entry : fs::directory_iterator(folder / "s"))
    EXPECT_TRUE(entry.path().filename() == "lock" || entry.path().filename() == "logs") << entry.path();
  EXPECT_TRUE(fs::is_empty(folder / "s" / "logs"));
}

TEST(Sweep, ADryRunMakesNoRun) {
  const TemporaryFolder folder;
  const Seen seen = run(kFour, folder / "s", 2, true);
  EXPECT_TRUE(seen.started.empty());
  EXPECT_EQ(seen.cells[0].steps, 10);
  EXPECT_EQ(seen.cells[0].foretold_seconds, 1);
  EXPECT_FALSE(fs::exists(seen.cells[0].folder));
}

TEST(Sweep, OneSweepAFolder) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "";
  expect_error(ErrorKind::input, {"is a file"}, [&] { run(kFour, folder / "file"); });
  const Seen seen = run("[grid]\nseed = 1\n", folder / "s");
  expect_error(ErrorKind::input, {"is a run folder"}, [&] { run(kFour, seen.cells[0].folder); });
}

std::vector<std::string> sample(const fs::path& folder, const std::string& toml) {
  std::ofstream(folder / "s.toml") << toml;
  return {LOWBIT_SWEEP_SAMPLE, (folder / "s.toml").string(), (folder / "s").string(), LOWBIT_FAKE_TRAINER, "2"};
}

const std::string kSlow = "[fixed]\nsteps = 40\nclip = 25\n[grid]\nseed = [0, 1, 2]\n";

TEST(Sweep, CtrlCStopsTheRunsWhichSaveAndTheNextSweepEndsThem) {
  const TemporaryFolder folder;
  const auto arguments = sample(folder.path(), kSlow);
  const Outcome stopped = run_program(arguments, {}, SIGINT);
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  std::istringstream lines(stopped.out);
  std::multiset<std::string> ends;
  for (std::string end, name, state, line; std::getline(lines, line);) {
    std::istringstream words(line);
    if (words >> end >> name >> state && end == "end") ends.insert(state);
  }
  EXPECT_EQ(ends.count("done"), 0u) << stopped.out;
  EXPECT_GE(ends.count("stopped"), 1u) << stopped.out;
  EXPECT_GE(ends.count("waiting"), 1u) << stopped.out;
  const Outcome again = run_program(arguments);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  const laws::Points points = laws::read_csv(read_file(folder / "s" / "results.csv"), "results.csv");
  EXPECT_EQ(points.points.size(), 3u);
}

/// Each sitting is killed at another moment; what was done stays done, what was not goes on.
TEST(Sweep, KilledAtAnyMomentItLeavesNoRunBehindAndCountsNoneThatIsBroken) {
  const TemporaryFolder folder;
  const auto arguments = sample(folder.path(), kSlow);
  for (const int milliseconds : {150, 400, 700}) {
    std::vector<std::string> limited{"/usr/bin/timeout", "-s", "KILL", std::to_string(milliseconds / 1000.0)};
    limited.insert(limited.end(), arguments.begin(), arguments.end());
    run_program(limited);
    const fs::path results = folder / "s" / "results.csv";
    if (!fs::exists(results)) continue;
    const std::string csv = read_file(results);  // whole at any moment
    EXPECT_TRUE(csv.starts_with("N,D,format,seed")) << csv;
    EXPECT_EQ(csv.back(), '\n');
  }
  const Outcome last = run_program(arguments);
  EXPECT_EQ(last.exit_code, 0) << last.err;
  std::istringstream lines(last.out);
  int done = 0;
  for (std::string line; std::getline(lines, line);)
    done += line.starts_with("end ") && line.find(" done") != std::string::npos;
  EXPECT_EQ(done, 3) << last.out;
}

TEST(Sweep, TheTableFitsItsTerminal) {
  std::vector<CellState> cells(40);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    cells[i].cell.name = "w4a4-a-very-long-name-of-a-cell-that-says-all-of-its-flags-" + std::to_string(10000000 + i);
    cells[i].steps = 1000, cells[i].tokens_per_step = 1024;
    cells[i].foretold_seconds = 100;
  }
  cells[30].state = State::running;
  cells[30].step = 10, cells[30].tok_s = 1000, cells[30].loss = 4;
  cells[35].state = State::failed;
  cells[35].message = std::string(300, 'x');
  for (const int columns : {40, 80, 200}) {
    const std::string text = table_text(cells, 2, 12, columns);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 12);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      EXPECT_LT(line.size(), static_cast<std::size_t>(columns)) << line;
    EXPECT_NE(text.find("running"), std::string::npos);
    EXPECT_NE(text.find("failed"), std::string::npos);
  }
}

TEST(Sweep, TimeLeftFollowsThePaceSeen) {
  std::vector<CellState> cells(3);
  for (CellState& c : cells) c.steps = 100, c.tokens_per_step = 100, c.foretold_seconds = 10;
  cells[0].state = State::done, cells[0].step = 100, cells[0].seconds = 20;  // twice as long as foretold
  EXPECT_DOUBLE_EQ(seconds_left(cells, 1), 40);
  EXPECT_DOUBLE_EQ(seconds_left(cells, 2), 20);
}

TEST(Child, LastLinesAreWhole) {
  const TemporaryFolder folder;
  std::ofstream(folder / "a") << std::string(70000, 'x') << "\nsecond\nthird\nhalf";
  EXPECT_EQ(last_lines(folder / "a"), "second\nthird\n");
  EXPECT_EQ(last_line(folder / "a"), "half");
  EXPECT_EQ(last_lines(folder / "none"), "");
}

}  // namespace
}  // namespace lowbit::study
