#include "lowbit/report/run_report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fake_run.h"
#include "html_check.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/summary.h"
#include "support/data.h"

namespace lowbit::report {
namespace {

using lowbit::test::TemporaryFolder;
using test::markup_error;

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(RunReport, ShowsEveryPartOfARun) {
  const TemporaryFolder folder;
  test::write_fake_run(folder.path());
  const auto path = write_run_report(folder.path());
  EXPECT_EQ(path, folder / "report.html");
  const std::string page = read_file(path);
  EXPECT_EQ(markup_error(page), "");
  for (const char* id : {"loss", "optimizer", "masks", "speed", "samples", "size", "settings"})
    EXPECT_TRUE(has(page, std::string("<section id=\"") + id + "\">")) << id;
  for (const char* text : {"<title>w4a4 · 5.51 M parameters · loss 3.2", "held out", "Learning rate", "Gradient norm",
                           "Activations over time", "Share of the machine’s peak", "AMD EPYC 9R14 96-Core Processor",
                           "5\u202F843\u202F968 bytes", "resumed"})
    EXPECT_TRUE(has(page, text)) << text;
  for (const auto& [name, value] : test::fake_info().flags) EXPECT_TRUE(has(page, "<dt>--" + name + "</dt>")) << name;
  // 8 * (1605632 + 34816) / 3211264 and 8 * 5843968 / 5507328
  EXPECT_TRUE(has(page, "<dd>4.087</dd>"));
  EXPECT_TRUE(has(page, "<dd>8.489</dd>"));
}

TEST(RunReport, LoadsNothingFromElsewhere) {
  const TemporaryFolder folder;
  test::write_fake_run(folder.path());
  const std::string page = run_page(read_run(folder.path()));
  for (const char* what : {"src=", "url(", "@import", "https:"}) EXPECT_FALSE(has(page, what)) << what;
  for (std::size_t at = page.find("http:"); at != std::string::npos; at = page.find("http:", at + 1))
    EXPECT_EQ(page.substr(at, 26), "http://www.w3.org/2000/svg");  // a name, never fetched
}

TEST(RunReport, EscapesTextOfEveryKind) {
  RunRecords r;
  const std::string attack = "</blockquote><script>alert(1)</script>\"'&\x01";
  r.info = test::fake_info();
  r.info->format = r.info->head = r.info->estimator = r.info->transform = attack;
  r.info->program = r.info->machine.cpu = r.info->machine.isa = attack;
  r.info->flags = {{attack, attack}};
  r.steps = {{1, 3, 1, 1, 1, 1, 1, 1}};
  r.masks = {{1, {{attack, 0.5, 0.5}, {"model.layers.0." + attack, 0.1, 0.1}}},
             {2, {{attack, 0.5, 0.5}, {"model.layers.0." + attack, 0.1, 0.1}}}};
  r.samples = {{1, attack, attack}};
  r.events = {{1, attack, attack}};
  r.notes = {attack};
  const std::string page = run_page(r);
  EXPECT_EQ(markup_error(page), "");
  EXPECT_FALSE(has(page, "<script>alert"));
  EXPECT_TRUE(has(page, "&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_EQ(page.find("<script>"), page.rfind("<script>"));  // the page's own
}

TEST(RunReport, IsWholeWhenPartsAreMissing) {
  for (unsigned present = 0; present < 64; ++present) {
    RunRecords r;
    if (present & 1) r.info = RunInfo{};
    if (present & 2) r.steps = {{1, 3, 1, 1, 1, 1, 1, 1}};
    if (present & 4) r.evals = {{1, 3, std::nullopt, std::nullopt, std::nullopt, 0, std::nullopt, kUnknown}};
    if (present & 8) r.masks = {{1, {}}};
    if (present & 16) r.samples = {{1, "", ""}};
    if (present & 32) r.events = {{1, "", ""}};
    const std::string page = run_page(r);
    ASSERT_EQ(markup_error(page), "") << present;
    ASSERT_FALSE(has(page, ">nan")) << present;
    ASSERT_FALSE(closing_summary(r, "runs/x").empty());
  }
}

TEST(RunReport, TellsOfALossThatIsNotANumberAndKeepsItOutOfThePlots) {
  RunRecords r;
  for (int step = 1; step <= 100; ++step)
    r.steps.push_back({step, step >= 90 ? kUnknown : 3.0 + 1.0 / step, 0.001, step >= 90 ? INFINITY : 1.0, step * 100,
                       step * 0.5, 200, kUnknown});
  const std::string page = run_page(r);
  EXPECT_EQ(markup_error(page), "");
  EXPECT_TRUE(has(page, "The loss stopped being a finite number at step 90."));
  EXPECT_FALSE(has(page, "nan"));
  EXPECT_FALSE(has(page, "inf"));
  EXPECT_TRUE(has(closing_summary(r, "runs/x"), "not a finite number from step 90 on"));
}

TEST(RunReport, WorksOnATornFileAndReplacesAnOldPage) {
  const TemporaryFolder folder;
  test::write_fake_run(folder.path(), 50, 1);
  const std::string metrics = read_file(folder / "metrics.jsonl");
  write_file(folder / "metrics.jsonl", metrics.substr(0, metrics.size() / 2));
  write_file(folder / "run.json", "{ \"format\": ");
  write_file(folder / "report.html", "old");
  write_run_report(folder.path());
  const std::string page = read_file(folder / "report.html");
  EXPECT_EQ(markup_error(page), "");
  EXPECT_TRUE(has(page, "run.json could not be read"));
  EXPECT_TRUE(has(page, "in progress"));
  write_file(folder / "metrics.jsonl", "");
  write_run_report(folder.path());
  EXPECT_TRUE(has(read_file(folder / "report.html"), "Nothing has been recorded yet."));
}

TEST(RunReport, KeepsTheOldPageWhenTheDiskIsFull) {
  const TemporaryFolder folder;
  test::write_fake_run(folder.path(), 50, 1);
  write_file(folder / "report.html", "old");
  file_fault = [](std::string_view call) { return call == "write" ? ENOSPC : 0; };
  EXPECT_ANY_THROW(write_run_report(folder.path()));
  file_fault = nullptr;
  EXPECT_EQ(read_file(folder / "report.html"), "old");
}

TEST(RunReport, StaysSmallForALongRun) {
  RunRecords r;
  for (int step = 1; step <= 200000; ++step)
    r.steps.push_back(
        {step, 3 + std::sin(step * 12.9898), 0.001, 1 + 0.5 * std::sin(step * 78.233), step, 1.0 * step, 100, 0.5});
  EXPECT_LT(run_page(r).size(), 1000000u);
}

TEST(Smoothing, IsTheMeanOfNeighboursAndKeepsGaps) {
  std::vector<double> ramp(100);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<double>(i);
  const auto smooth = smoothed(ramp);
  for (std::size_t i = 2; i + 2 < ramp.size(); ++i) EXPECT_NEAR(smooth[i], ramp[i], 1e-9);
  const double nan = kUnknown;
  const auto gaps = smoothed({1, nan, 3, 5, nan, 7, 7, 7});
  EXPECT_TRUE(std::isnan(gaps[1]));
  EXPECT_TRUE(std::isnan(gaps[4]));
  EXPECT_DOUBLE_EQ(gaps[3], (3 + 5 + 7) / 3.0);
  EXPECT_DOUBLE_EQ(gaps[7], 7);
}

TEST(Summary, SaysWhatWasTrainedWhereItIsAndWhatToTypeNext) {
  const TemporaryFolder folder;
  test::write_fake_run(folder.path());
  std::filesystem::create_directories(folder / "checkpoints/step-50");
  std::filesystem::create_directories(folder / "checkpoints/step-200");
  std::filesystem::create_directories(folder / "checkpoints/step-9");
  std::filesystem::create_directories(folder / "checkpoints/.step-300.tmp");
  const std::string text = closing_summary(read_run(folder.path()), folder.path());
  const std::string name = folder.path().string();
  for (const std::string& part :
       {std::string("Training finished\n"), std::string("w4a4, 5.51 M parameters, 4 layers of width 256"),
        std::string("200 steps, 3.28 M tokens in 12m"), std::string(" bits per byte ["),
        std::string("5.84 MB as stored, 4.09 bits per weight in the blocks"), name + "/checkpoints/step-200\n",
        name + "/report.html", "lowbit run --model " + name + " --prompt 'In the beginning'",
        "lowbit eval --model " + name + " --data corpus/bible"})
    EXPECT_TRUE(has(text, part)) << part << "\nin\n" << text;
  EXPECT_FALSE(has(text, "--resume"));
}

TEST(Summary, OffersToResumeAnInterruptedRunAndQuotesNamesForTheShell) {
  RunRecords r;
  r.info = test::fake_info(200);
  r.info->flags = {{"data", "it's here"}};
  r.steps = {{120, 3, 0, 0, 0, 0, 0, 0}};
  r.events = {{120, "interrupted", ""}};
  const std::string text = closing_summary(r, "my runs/a");
  EXPECT_TRUE(has(text, "Training interrupted at step 120 of 200"));
  EXPECT_TRUE(has(text, "lowbit train --data 'it'\\''s here' --out 'my runs/a' --resume\n")) << text;
}

TEST(Outcome, ReadsTheStateFromTheLastEvent) {
  RunRecords r;
  r.info = test::fake_info(10);
  using Status = Outcome::Status;
  r.steps = {{5, 3, 0, 0, 0, 0, 0, 0}};
  EXPECT_EQ(outcome_of(r).status, Status::running);
  r.events = {{5, "interrupted", ""}};
  EXPECT_EQ(outcome_of(r).status, Status::interrupted);
  r.events.push_back({5, "resumed", ""});
  EXPECT_EQ(outcome_of(r).status, Status::running);
  r.steps.push_back({10, 3, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(outcome_of(r).status, Status::finished);
  r.events.push_back({10, "stopped", "NaN"});
  EXPECT_EQ(outcome_of(r).status, Status::stopped);
}

}  // namespace
}  // namespace lowbit::report
