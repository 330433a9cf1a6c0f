#include "lowbit/study/runs.h"

#include <gtest/gtest.h>

#include <fstream>

#include "files/expect_error.h"
#include "study/made_up_run.h"
#include "support/data.h"

namespace lowbit::study {
namespace {

using test::expect_error, test::MadeUpRun, test::TemporaryFolder, test::write_run;

TEST(Runs, ARunIsItsParametersWithoutEmbeddingsItsTokensAndItsLastLoss) {
  const TemporaryFolder folder;
  write_run(folder / "a", {});
  const study::Run run = read_run(folder / "a");
  EXPECT_EQ(run.parameters, test::parameters_of({}));
  EXPECT_EQ(run.tokens, 20 * 1024);
  EXPECT_EQ(run.format, "w4a4");
  ASSERT_TRUE(run.eval);
  EXPECT_EQ(run.eval->nats_per_token, 3.25);
  EXPECT_TRUE(is_done(run.records));
  EXPECT_EQ(run.flag("lr"), "0.01");
}

TEST(Runs, AFormatIsNamedWithWhatIsNotUsualAndWithLabels) {
  const TemporaryFolder folder;
  const auto name = [&](MadeUpRun run, const std::vector<std::string>& labels = {}) {
    write_run(folder / "a", run);
    return read_run(folder / "a", labels).format;
  };
  EXPECT_EQ(name({.format = "w2a2", .estimator = "clip"}), "w2a2 clip");
  EXPECT_EQ(name({.format = "w2a2", .estimator = "trust", .transform = "none"}), "w2a2 no-rotation");
  EXPECT_EQ(name({.format = "w4a16", .estimator = "trust", .transform = "hadamard-weights"}), "w4a16");
  EXPECT_EQ(name({.format = "bf16", .estimator = "ste", .transform = "none"}), "bf16");
  EXPECT_EQ(name({}, {"lr", "nothing"}), "w4a4 lr=0.01");
  const auto flagged = [&](const char* format, std::vector<std::pair<std::string, std::string>> flags,
                           const char* estimator = "trust") {
    MadeUpRun run;
    run.format = format, run.estimator = estimator, run.flags = std::move(flags);
    return name(run);
  };
  EXPECT_EQ(flagged("w4a4", {{"scale", "rms"}, {"grid", "uniform"}, {"cage", "0"}, {"gain-lr", "0"}, {"distill", ""}}),
            "w4a4");
  EXPECT_EQ(flagged("w4a4", {{"scale", "absmax"}}, "ste"), "w4a4 absmax");
  EXPECT_EQ(flagged("w2a2", {{"cage", "0.1"}, {"distill", "teacher"}}), "w2a2 cage=0.1 distill");
  EXPECT_EQ(flagged("bf16", {{"qk-norm", "true"}, {"damp", "0.1"}}), "bf16 qk-norm");
  EXPECT_EQ(flagged("w1a1", {{"qk-norm", "true"}, {"damp", "0.1"}, {"scale", "mse"}}), "w1a1 mse damp=0.1 qk-norm");
  EXPECT_EQ(flagged("w2a2", {{"scale-group", "0"}}), "w2a2");
  EXPECT_EQ(flagged("w2a2", {{"scale-group", "64"}}), "w2a2 scale-group=64");
  EXPECT_EQ(flagged("bf16", {{"scale-group", "64"}}), "bf16");
  EXPECT_EQ(flagged("bf16", {{"cage", "0.1"}, {"gain-lr", "4"}, {"scale", "absmax"}}), "bf16 gain-lr=4");
}

TEST(Runs, WhatAllRunsShareWithFullPrecisionIsLeftOutOfTheirNames) {
  const TemporaryFolder folder;
  const auto run = [&](const char* name, const char* format, std::vector<std::pair<std::string, std::string>> flags) {
    MadeUpRun made;
    made.format = format, made.flags = std::move(flags);
    write_run(folder / name, made);
    return read_run(folder / name, {"lr"});
  };
  std::vector<study::Run> runs{run("a", "w4a4", {{"qk-norm", "true"}, {"cage", "0.1"}}),
                               run("b", "bf16", {{"qk-norm", "true"}}),
                               run("c", "w2a2", {{"qk-norm", "true"}, {"cage", "0.1"}})};
  const std::string said = take_out_shared(runs, {"lr"});
  EXPECT_NE(said.find("qk-norm"), std::string::npos) << said;
  EXPECT_EQ(runs[0].format, "w4a4 cage=0.1 lr=0.01");
  EXPECT_EQ(runs[1].format, "bf16 lr=0.01");
  runs.push_back(run("d", "w2a2", {}));
  runs[0] = run("a", "w4a4", {{"qk-norm", "true"}}), runs[1] = run("b", "bf16", {{"qk-norm", "true"}});
  EXPECT_EQ(take_out_shared(runs, {"lr"}), "");  // one run lacks it
  EXPECT_EQ(runs[1].format, "bf16 qk-norm lr=0.01");
  runs.erase(runs.begin() + 1);
  EXPECT_EQ(take_out_shared(runs, {"lr"}), "");  // no full precision
  const laws::Points points = points_of({folder / "a", folder / "b"});
  EXPECT_EQ(points.formats, (std::vector<std::string>{"w4a4", "bf16"}));
  ASSERT_EQ(points.notes.size(), 1u);
}

TEST(Runs, ACellThatWasStoppedBeforeItWroteAnythingIsNamedAndLeftOut) {
  const TemporaryFolder folder;
  write_run(folder / "sweep" / "a", {});
  std::filesystem::create_directories(folder / "sweep" / "b" / "checkpoints");
  std::vector<std::string> notes;
  const std::vector<std::filesystem::path> found = run_folders({folder / "sweep"}, &notes);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].filename(), "a");
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("b has no run.json: left out."), std::string::npos) << notes[0];
}

TEST(Runs, OnlyARunWithItsLastStepAndThatStepsLossIsDone) {
  const TemporaryFolder folder;
  const auto done = [&](std::int64_t steps, bool evaluated) {
    MadeUpRun run;
    run.done = steps;
    run.evaluated = evaluated;
    write_run(folder / "a", run);
    return read_run(folder / "a").eval.has_value();
  };
  EXPECT_TRUE(done(20, true));
  EXPECT_FALSE(done(20, false));
  EXPECT_FALSE(done(19, true));  // an evaluation on the way is not the last
  EXPECT_FALSE(done(0, false));
}

TEST(Runs, AFolderOfRunsGivesThoseThatAreDone) {
  const TemporaryFolder folder;
  write_run(folder / "a", {});
  write_run(folder / "b", {.format = "bf16", .loss = 3});
  write_run(folder / "c", {.done = 7});
  std::ofstream(folder / "results.csv") << "not read";
  const laws::Points points = points_of({folder.path()});
  ASSERT_EQ(points.points.size(), 2u);
  EXPECT_EQ(points.formats, (std::vector<std::string>{"w4a4", "bf16"}));
  ASSERT_EQ(points.notes.size(), 1u);
  EXPECT_NE(points.notes[0].find("is at step 7 of 20"), std::string::npos) << points.notes[0];
}

TEST(Runs, CsvFilesAndRunFoldersMayStandTogether) {
  const TemporaryFolder folder;
  write_run(folder / "a", {});
  std::ofstream(folder / "more.csv") << "N,D,format,loss\n1M,1M,W4A4,3.5\n";
  const laws::Points points = points_of({folder / "a", folder / "more.csv"});
  EXPECT_EQ(points.points.size(), 2u);
  EXPECT_EQ(points.formats.size(), 1u);
}

TEST(Runs, ATableOfResultsGivesRunsWithTheirFlagsAndIntervals) {
  const TemporaryFolder folder;
  std::ofstream(folder / "t.csv")
      << "# made up\n"
         "recipe,N,D,format,seed,lr,estimator,transform,loss,loss_low,loss_high,stored_bytes\n"
         "best,524928,4194304,w2a2,3,0.002,clip,hadamard,4.1,4.05,4.2,1195520\n"
         "quest,524928,4194304,w2a2,4,0.002,trust,hadamard,-,,,\n"
         "quest,1M,2M,bf16,4,0.004,,,3.9,,,\n";
  const std::vector<study::Run> runs = read_table(folder / "t.csv", {"recipe"});
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].format, "w2a2 clip recipe=best");
  EXPECT_EQ(runs[0].parameters, 524928);
  EXPECT_EQ(runs[0].tokens, 4194304);
  EXPECT_EQ(runs[0].flag("seed"), "3");
  EXPECT_EQ(runs[0].flag("loss"), "");
  ASSERT_TRUE(runs[0].eval && runs[0].eval->nats_per_token_interval);
  EXPECT_EQ(runs[0].eval->nats_per_token, 4.1);
  EXPECT_EQ(runs[0].eval->nats_per_token_interval->high, 4.2);
  EXPECT_EQ(runs[0].outcome.stored_bytes, 1195520);
  EXPECT_EQ(runs[0].folder, "t.csv:3");
  EXPECT_EQ(runs[1].format, "bf16 recipe=quest");
  EXPECT_EQ(runs[1].parameters, 1e6);
  EXPECT_FALSE(runs[1].eval->nats_per_token_interval);
}

TEST(Runs, ATableOfResultsThatCannotBeReadIsNamedWithItsLine) {
  const TemporaryFolder folder;
  std::ofstream(folder / "t.csv") << "N,D,format,loss,loss_low\n1M,1M,w4a4,3.5,low\n";
  expect_error(ErrorKind::input, {"t.csv:2", "loss_low", "'low'"}, [&] { read_table(folder / "t.csv"); });
  std::ofstream(folder / "t.csv") << "N,D,loss\n1M,1M,3.5\n";
  expect_error(ErrorKind::input, {"t.csv:1", "'format'"}, [&] { read_table(folder / "t.csv"); });
}

TEST(Runs, WhatIsNoRunIsNamed) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::input, {"there is no", "nowhere"}, [&] { points_of({folder / "nowhere"}); });
  expect_error(ErrorKind::input, {"no run folder"}, [&] { points_of({folder.path()}); });
  write_run(folder / "a", {.done = 7});
  expect_error(ErrorKind::input, {"no finished run", "step 7 of 20"}, [&] { points_of({folder / "a"}); });
  std::ofstream(folder / "a" / "run.json") << "{\"version\": 9, \"program\": \"lowbit 9\"}";
  expect_error(ErrorKind::input, {"lowbit 9", "another version"}, [&] { points_of({folder / "a"}); });
  std::ofstream(folder / "a" / "run.json") << "torn";
  expect_error(ErrorKind::input, {"run.json", "leave it out"}, [&] { points_of({folder / "a"}); });
}

}  // namespace
}  // namespace lowbit::study
