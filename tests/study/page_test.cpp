#include "lowbit/study/page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "lowbit/study/page_sections.h"
#include "report/html_check.h"
#include "study/made_up_run.h"
#include "support/data.h"

namespace lowbit::study {
namespace {

namespace fs = std::filesystem;
using report::test::markup_error;
using test::MadeUpRun, test::TemporaryFolder, test::write_run;

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::vector<Run> runs_in(const fs::path& folder) {
  std::vector<Run> runs;
  std::vector<std::string> notes;
  for (const fs::path& path : run_folders({folder}, &notes)) runs.push_back(read_run(path));
  return runs;
}

PageOptions quick() {
  PageOptions options;
  options.fit.bootstrap = 5;
  return options;
}

/// Sizes, formats and seeds; at one size other estimators and activations too.
void write_study(const fs::path& folder) {
  int count = 0;
  const auto add = [&](MadeUpRun run, double eff) {
    const double n = test::parameters_of(run);
    run.tokens_per_step = static_cast<std::int64_t>(n * (run.layers % 3 == 0 ? 2 : 5));
    run.loss = 6 * std::pow(n * eff / 1e6, -0.1) + 0.002 * static_cast<double>(run.seed) + 1e-4 * count;
    write_run(folder / ("r" + std::to_string(count++)), run);
  };
  for (const std::int64_t layers : {1, 2, 3, 4})
    for (const auto& [format, eff] : {std::pair{"bf16", 1.0}, {"w4a4", 0.7}, {"w2a2", 0.2}})
      for (std::int64_t seed = 0; seed < (layers == 4 ? 3 : 1); ++seed) {
        MadeUpRun run;
        run.format = format, run.layers = layers, run.seed = seed;
        if (run.format == "bf16") run.transform = "none";
        add(run, eff);
      }
  for (const char* format : {"w2a4", "w4a2", "w1a1", "w8a8"}) add({.format = format, .layers = 4}, 0.3);
  for (const char* estimator : {"ste", "clip"}) add({.format = "w2a2", .estimator = estimator, .layers = 4}, 0.1);
}

TEST(StudyPage, HoldsEverySectionForWhichThereIsData) {
  const TemporaryFolder folder;
  write_study(folder.path());
  const std::string page = study_page(runs_in(folder.path()), quick());
  EXPECT_EQ(markup_error(page), "");
  for (const char* id : {"results", "pareto", "laws", "bits", "estimators", "masks", "samples", "runs"})
    EXPECT_TRUE(has(page, std::string("<section id=\"") + id + "\">")) << id;
  for (const char* text :
       {"Loss against bytes as stored", "Loss against time of training", "Effective parameters",
        "Bits of weights by bits of activations", "clip, hadamard", "w2a2 ste", "and it came to pass"})
    EXPECT_TRUE(has(page, text)) << text;
  for (const char* what : {"src=", "url(", "@import", "https:", "nan", "inf<"}) EXPECT_FALSE(has(page, what)) << what;
}

TEST(StudyPage, OneRunHasNeitherLawNorGapNorPlots) {
  const TemporaryFolder folder;
  write_run(folder / "a", {});
  const std::string page = study_page(runs_in(folder.path()), quick());
  EXPECT_EQ(markup_error(page), "");
  for (const char* id : {"results", "samples", "runs"}) EXPECT_TRUE(has(page, std::string("id=\"") + id + "\"")) << id;
  for (const char* id : {"pareto", "laws", "bits", "estimators"})
    EXPECT_FALSE(has(page, std::string("id=\"") + id + "\"")) << id;
  EXPECT_FALSE(has(page, "<th>Gap</th>"));
}

TEST(StudyPage, RunsThatAreNotDoneAreListedAndCountForNothing) {
  const TemporaryFolder folder;
  write_run(folder / "a", {.done = 7, .loss = 0.001});
  const std::string page = study_page(runs_in(folder.path()), quick());
  EXPECT_EQ(markup_error(page), "");
  EXPECT_TRUE(has(page, "is at step 7 of 20"));
  EXPECT_FALSE(has(page, "id=\"results\""));
  EXPECT_EQ(markup_error(study_page({})), "");
}

TEST(StudyPage, ALawThatCannotBeFittedSaysWhy) {
  const TemporaryFolder folder;
  write_run(folder / "a", {.layers = 1});
  write_run(folder / "b", {.layers = 2});
  const std::string page = study_page(runs_in(folder.path()), quick());
  EXPECT_TRUE(has(page, "Not fitted: no run has format bf16"));
}

TEST(StudyPage, EscapesTextOfEveryKind) {
  const TemporaryFolder folder;
  const std::string attack = "w4a4<script>alert(1)</script>\"'&";
  for (const std::int64_t layers : {1, 2}) {
    write_run(folder / ("a&" + std::to_string(layers)),
              {.format = attack, .estimator = attack, .transform = attack, .layers = layers});
    write_run(folder / ("b" + std::to_string(layers)), {.format = attack, .layers = layers});
  }
  PageOptions options = quick();
  options.title = attack;
  options.fit.base = attack;
  const std::string page = study_page(runs_in(folder.path()), options);
  EXPECT_EQ(markup_error(page), "");
  EXPECT_FALSE(has(page, "<script>alert"));
}

TEST(Groups, SeedsMakeAMeanWithStudentsInterval) {
  const Mean mean = mean_of({1, 2, 3});
  EXPECT_DOUBLE_EQ(mean.value, 2);
  EXPECT_NEAR(mean.interval.high - 2, 4.303 / std::sqrt(3), 1e-9);  // standard deviation 1
  EXPECT_TRUE(std::isnan(mean_of({1}).interval.low));
  EXPECT_TRUE(std::isnan(mean_of({}).value));
}

TEST(Groups, AGapIsToTheBestFullPrecisionOfTheSameSizeAndTokensPairedBySeed) {
  const TemporaryFolder folder;
  const auto put = [&](const char* name, const char* format, std::int64_t seed, double loss,
                       std::int64_t tokens = 1024) {
    write_run(folder / name,
              {.format = format, .transform = "hadamard", .tokens_per_step = tokens, .seed = seed, .loss = loss});
  };
  put("a", "bf16", 0, 3.0);
  put("b", "bf16", 1, 3.4);
  put("c", "f32", 0, 3.5);         // worse on average
  put("d", "bf16", 0, 1.0, 2048);  // other tokens
  put("e", "w4a4", 0, 3.1);
  put("f", "w4a4", 1, 3.5);
  put("g", "w2a2", 7, 3.5);  // no twin of its seed
  const std::vector<study::Run> runs = runs_in(folder.path());
  for (const Group& group : groups_of(runs)) {
    if (group.format == "w4a4") {
      EXPECT_NEAR(group.gap.value, 0.1, 1e-12);
      EXPECT_NEAR(group.gap.interval.high - group.gap.interval.low, 0, 1e-9);  // both seeds differ by .1
      EXPECT_GT(group.loss.interval.high - group.loss.interval.low, 1);
    }
    if (group.format == "w2a2") {
      EXPECT_NEAR(group.gap.value, 0.3, 1e-12);
    }
  }
  EXPECT_EQ(fullest_place(groups_of(runs))->tokens, 20 * 1024);
}

class Additions : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(Additions, AreComparedWithATwinThatHasThemToo) {
  const TemporaryFolder folder;
  const auto put = [&](const char* name, const char* format, double loss, bool addition) {
    MadeUpRun run;
    run.format = format, run.loss = loss;
    if (addition) run.flags = {GetParam()};
    write_run(folder / name, run);
  };
  put("a", "bf16", 3.0, false);
  put("b", "w4a4", 3.05, true);
  const auto gap = [&] {
    const std::vector<study::Run> runs = runs_in(folder.path());
    for (const Group& group : groups_of(runs))
      if (!group.full_precision()) return group.gap.value;
    return 0.0;
  };
  EXPECT_TRUE(std::isnan(gap()));
  put("c", "bf16", 2.9, true);
  EXPECT_NEAR(gap(), 0.15, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Groups, Additions,
                         testing::Values(std::pair("gain-lr", "4"), std::pair("qk-norm", "true"),
                                         std::pair("distill", "teacher")));

TEST(StudyPage, TellsEveryWayApartInWhichAFormatWasTrainedAndPutsFloatActivationsIntoTheGrid) {
  const TemporaryFolder folder;
  const auto put = [&](const char* name, const char* format, const char* estimator, double loss,
                       std::vector<std::pair<std::string, std::string>> flags = {}) {
    MadeUpRun run;
    run.format = format, run.estimator = estimator, run.transform = "hadamard", run.loss = loss,
    run.flags = std::move(flags);
    write_run(folder / name, run);
  };
  put("a", "w4a4", "trust", 3.1);
  put("b", "w4a4", "trust", 3.2, {{"qk-norm", "true"}});
  put("c", "w4a4", "ste", 3.3);
  put("d", "w4a4", "ste", 3.4, {{"scale", "absmax"}});
  put("e", "w2a4", "trust", 3.5);
  put("f", "w2a16", "trust", 3.456);
  const std::string page = study_page(runs_in(folder.path()), quick());
  for (const char* way : {"<th>trust, hadamard</th>", "<th>trust, hadamard, qk-norm</th>", "<th>ste, hadamard</th>",
                          "<th>ste, hadamard, absmax</th>"})
    EXPECT_TRUE(has(page, way)) << way;
  EXPECT_TRUE(has(page, "<th>a16</th>"));
  EXPECT_TRUE(has(page, "3.456"));
}

TEST(StudyPage, DrawsWhatADiagnosisInARunFolderSays) {
  const TemporaryFolder folder;
  write_run(folder / "a", {});
  write_run(folder / "b", {.format = "w2a2"});
  std::ofstream(folder / "a" / "diagnosis.json")
      << R"({"format":"w4a4","blocks":[{"layer":0,"cosine":0.8,"norm_ratio":1},)"
      << R"({"layer":1,"cosine":0.98,"norm_ratio":1}],)"
      << R"("changes":[{"name":"model.layers.0.mlp.up_proj","still_masked":0.3,"codes_changed":0.01}]})";
  std::ofstream(folder / "b" / "diagnosis.json") << "torn";
  const std::string page = study_page(runs_in(folder.path()), quick());
  EXPECT_EQ(markup_error(page), "");
  EXPECT_TRUE(has(page, "Alignment of gradients by depth"));
  EXPECT_TRUE(has(page, "Masked before and still masked"));
  EXPECT_TRUE(has(page, "diagnosis.json"));  // the torn one is named
}

TEST(Palette, GivesEveryFormatAColourWhileThereAreEnough) {
  std::vector<std::pair<std::string, std::size_t>> formats;
  for (int i = 0; i < 8; ++i) formats.emplace_back("f" + std::to_string(i), 1);
  EXPECT_EQ(Palette(formats).others(), 0u);
  EXPECT_EQ(Palette(formats).colour("f7"), 7);
  formats.emplace_back("f8", 5);
  const Palette crowded(formats);
  EXPECT_EQ(crowded.others(), 2u);
  EXPECT_TRUE(crowded.is_named("f8"));
  EXPECT_FALSE(crowded.is_named("f7"));
  EXPECT_EQ(crowded.colour("f7"), Palette::kGrey);
  for (const std::string& name : crowded.named()) EXPECT_NE(crowded.colour(name), Palette::kGrey);
}

}  // namespace
}  // namespace lowbit::study
