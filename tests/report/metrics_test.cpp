#include "lowbit/report/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fake_run.h"
#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/report/run_log.h"
#include "support/data.h"

namespace lowbit::report {
namespace {

using lowbit::test::TemporaryFolder;

RunRecords parsed(std::string_view lines) {
  RunRecords records;
  parse_metrics(lines, &records);
  return records;
}

TEST(Metrics, WritesTheDocumentedLines) {
  EXPECT_EQ(
      to_line(StepRecord{7, 3.25, 0.001, 0.5, 7168, 1.5, 4800, 0.25}),
      "{\"kind\":\"step\",\"step\":7,\"loss\":3.25,\"lr\":0.001,\"grad_norm\":0.5,\"tokens\":7168,\"seconds\":1.5,"
      "\"tok_s\":4800.0,\"peak_share\":0.25}\n");
  EXPECT_EQ(to_line(EvalRecord{9, 3.5, Interval{3.25, 3.75}, std::nullopt, std::nullopt, 100, std::nullopt, 2}),
            "{\"kind\":\"eval\",\"step\":9,\"nats_per_token\":3.5,\"nats_per_token_interval\":[3.25,3.75],\"bits_per_"
            "byte\":null,"
            "\"bits_per_byte_interval\":null,\"tokens\":100,\"bytes\":null,\"seconds\":2.0}\n");
  EXPECT_EQ(to_line(MasksRecord{3, {{"a", 0.5, kUnknown}}}),
            "{\"kind\":\"masks\",\"step\":3,\"layers\":{\"a\":{\"weight\":0.5,\"input\":null}}}\n");
  EXPECT_EQ(to_line(SampleRecord{3, "p\n\"", "bad \xFF byte"}),
            "{\"kind\":\"sample\",\"step\":3,\"prompt\":\"p\\n\\\"\",\"text\":\"bad \uFFFD byte\"}\n");
  EXPECT_EQ(to_line(EventRecord{3, "resumed", "x"}),
            "{\"kind\":\"event\",\"step\":3,\"what\":\"resumed\",\"detail\":\"x\"}\n");
}

TEST(Metrics, KeepsEveryBitOfALoss) {
  for (const float loss : {0.1f, 3.1415927f, 1e-30f, 123456.789f}) {
    const auto records = parsed(to_line(StepRecord{1, loss, 1.0 / 3, kUnknown, 0, 0, 0, 0}));
    EXPECT_EQ(static_cast<float>(records.steps.at(0).loss), loss);
    EXPECT_EQ(records.steps[0].lr, 1.0 / 3);
  }
}

TEST(Metrics, ReadsBackWhatWasAllottedByLayer) {
  BitsRecord bits;
  bits.step = 7;
  bits.loss = 4.25;
  bits.budget = 2.5;
  bits.bits = 2.25;
  bits.cost_before = 0.5;
  bits.cost = 0.125;
  bits.uniform = "w2a2";
  bits.uniform_bits = 2.25;
  bits.uniform_cost = 0.25;
  bits.layers.push_back(
      {"blocks.0.q", -0.5, 0.75, "w1a2", 1.25, 0.25, {{"w1a2", 1.25, 0.375}, {"w2a2", 2.25, 0.125}}, {{0.25, -0.125}}});
  const auto r = parsed(to_line(bits));
  ASSERT_EQ(r.bits.size(), 1u);
  EXPECT_EQ(to_line(r.bits[0]), to_line(bits));
  EXPECT_EQ(r.bits[0].layers.at(0).choices.at(1).error, 0.125);
  EXPECT_EQ(r.bits[0].layers[0].samples.at(0).second, -0.125);
  bits.uniform.clear();  // nothing fits for all alike
  EXPECT_EQ(parsed(to_line(bits)).bits.at(0).uniform, "");
}

TEST(Metrics, TheLastEvaluationKeepsItsFigureOverTheTextOfTheEarlierOnesForCurves) {
  EvalRecord eval{9, 3.5, Interval{3.25, 3.75}, 1.5, Interval{1.25, 1.75}, 100, 400, 2};
  EXPECT_EQ(to_line(eval).find("first"), std::string::npos);
  EXPECT_EQ(eval.curve_nats(), 3.5);
  eval.first = EvalRecord::First{3.75, 1.625, 40};
  const auto r = parsed(to_line(eval));
  ASSERT_EQ(r.evals.size(), 1u);
  EXPECT_EQ(to_line(r.evals[0]), to_line(eval));
  EXPECT_EQ(r.evals[0].nats_per_token, 3.5);
  EXPECT_EQ(r.evals[0].curve_nats(), 3.75);
  EXPECT_EQ(r.evals[0].curve_bits(), 1.625);
  EXPECT_EQ(r.evals[0].first->tokens, 40);
}

TEST(Metrics, ReadsBackWhatIsWritten) {
  const EvalRecord eval{9, 3.5, Interval{3.25, 3.75}, 1.5, Interval{1.25, 1.75}, 100, 400, 2};
  const auto r =
      parsed(to_line(eval) + to_line(MasksRecord{9, {{"model.layers.0.mlp.up_proj", 0.5, 0.25}, {"b", 1, kUnknown}}}) +
             to_line(SampleRecord{9, "p", "t"}) + to_line(SampleRecord{9, "p2", "t2"}) +
             to_line(EventRecord{9, "finished", ""}));
  ASSERT_EQ(r.evals.size(), 1u);
  EXPECT_EQ(r.evals[0].nats_per_token, 3.5);
  EXPECT_EQ(r.evals[0].nats_per_token_interval->high, 3.75);
  EXPECT_EQ(r.evals[0].bits_per_byte, 1.5);
  EXPECT_EQ(r.evals[0].bits_per_byte_interval->low, 1.25);
  EXPECT_EQ(r.evals[0].bytes, 400);
  ASSERT_EQ(r.masks.at(0).layers.size(), 2u);
  EXPECT_EQ(r.masks[0].layers[0].layer, "model.layers.0.mlp.up_proj");  // in the order written
  EXPECT_EQ(r.masks[0].layers[0].input, 0.25);
  EXPECT_TRUE(std::isnan(r.masks[0].layers[1].input));
  ASSERT_EQ(r.samples.size(), 2u);
  EXPECT_EQ(r.samples[1].text, "t2");
  EXPECT_EQ(r.events.at(0).what, "finished");
  EXPECT_TRUE(r.notes.empty());
}

TEST(Metrics, PassesOverATornLastLineInSilenceAtEveryByte) {
  const std::string first = to_line(StepRecord{1, 3, 0, 0, 0, 0, 0, 0}),
                    second = to_line(StepRecord{2, 2, 0, 0, 0, 0, 0, 0});
  for (std::size_t cut = 0; cut < second.size() - 1; ++cut) {
    const auto records = parsed(first + second.substr(0, cut));
    ASSERT_EQ(records.steps.size(), 1u) << cut;
    ASSERT_TRUE(records.notes.empty()) << cut;
  }
  EXPECT_EQ(parsed(first + second).steps.size(), 2u);
}

TEST(Metrics, CountsLinesThatCannotBeReadAndGoesOn) {
  const std::string good = to_line(StepRecord{1, 3, 0, 0, 0, 0, 0, 0}),
                    later = to_line(StepRecord{2, 3, 0, 0, 0, 0, 0, 0});
  const auto records = parsed(good + "{\"kind\":\"step\",\"st\n" + "[1,2]\n\n" + "{\"kind\":\"step\",\"step\":-4}\n" +
                              "{\"kind\":\"step\",\"step\":1e300}\n" + "\xFF\xFE\n" + later);
  EXPECT_EQ(records.steps.size(), 2u);
  ASSERT_EQ(records.notes.size(), 1u);
  EXPECT_EQ(records.notes[0], "5 lines of metrics.jsonl could not be read (the first is line 2).");
}

TEST(Metrics, TakesFieldsOfTheWrongTypeAsUnknown) {
  const auto r = parsed(R"({"kind":"step","step":1,"loss":"x","lr":null,"tokens":[1],"seconds":{}}
{"kind":"eval","step":1,"nats_per_token":2,"nats_per_token_interval":[1],"bits_per_byte_interval":["a","b"]}
{"kind":"masks","step":1,"layers":[1,2]}
{"kind":"masks","step":2,"layers":{"a":7}}
{"kind":"sample","step":1,"prompt":7}
{"kind":"of a later version","step":1}
)");
  EXPECT_TRUE(std::isnan(r.steps.at(0).loss));
  EXPECT_EQ(r.steps[0].tokens, 0);
  EXPECT_FALSE(r.evals.at(0).nats_per_token_interval);
  EXPECT_FALSE(r.evals[0].bits_per_byte);
  EXPECT_FALSE(r.evals[0].bits_per_byte_interval);
  EXPECT_TRUE(r.masks.at(0).layers.empty());
  EXPECT_TRUE(std::isnan(r.masks.at(1).layers.at(0).weight));
  EXPECT_EQ(r.samples.at(0).prompt, "");
  EXPECT_TRUE(r.notes.empty());
}

TEST(Metrics, LetsLaterLinesOfAStepReplaceEarlierOnes) {
  std::string lines;
  for (int step = 1; step <= 10; ++step) lines += to_line(StepRecord{step, 1, 0, 0, 0, 0, 0, 0});
  for (int step = 6; step <= 8; ++step) lines += to_line(StepRecord{step, 2, 0, 0, 0, 0, 0, 0});
  const auto r = parsed(lines);
  ASSERT_EQ(r.steps.size(), 8u);
  EXPECT_EQ(r.steps[4].loss, 1);
  EXPECT_EQ(r.steps[5].loss, 2);
  EXPECT_EQ(r.steps[7].step, 8);
}

TEST(RunInfo, ComesBackFromItsJson) {
  const RunInfo info = test::fake_info();
  const auto back = parse_run_info(to_json(info));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->flags, info.flags);
  EXPECT_EQ(back->model.block_parameters, info.model.block_parameters);
  EXPECT_EQ(back->machine.peak_gflops, info.machine.peak_gflops);
  EXPECT_EQ(back->sizes.total, info.sizes.total);
  EXPECT_EQ(to_json(*back), to_json(info));
}

TEST(RunInfo, ReadsFlagsOfAnyTypeAndMissingParts) {
  const auto info = parse_run_info(R"({"flags":{"a":3,"b":true,"c":null,"d":["x",2],"e":0.25},"model":7})");
  ASSERT_TRUE(info);
  using Flags = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(info->flags, (Flags{{"a", "3"}, {"b", "true"}, {"c", ""}, {"d", "x, 2"}, {"e", "0.25"}}));
  EXPECT_EQ(info->model.layers, 0);
  EXPECT_FALSE(parse_run_info("[]"));
  EXPECT_FALSE(parse_run_info("{\"flags\":"));
}

TEST(RunLog, CutsBothFilesBackToTheStepItResumesFrom) {
  const TemporaryFolder folder;
  test::write_fake_run(folder.path(), 60, 1);
  const std::string before = read_file(folder / "metrics.jsonl");
  write_file(folder / "metrics.jsonl", before + "{\"kind\":\"step\",\"step\":61,\"lo");  // as a kill leaves it
  { RunLog log(folder.path(), 25); }
  const std::string cut = read_file(folder / "metrics.jsonl");
  const std::size_t kept_lines = before.find("{\"kind\":\"step\",\"step\":26,");
  EXPECT_EQ(cut, before.substr(0, kept_lines));  // the lines that stay keep their bytes
  const std::string bytes = read_file(folder / RunLog::kEventFile);
  EXPECT_EQ(bytes.find("loss/bits_per_byte"), bytes.rfind("loss/bits_per_byte"));  // step 20's, and not 40's
  {
    RunLog log(folder.path(), 25);
    log.add(StepRecord{26, 1, 0, 0, 0, 0, 0, 0});
  }
  EXPECT_EQ(read_file(folder / "metrics.jsonl"), cut + to_line(StepRecord{26, 1, 0, 0, 0, 0, 0, 0}));
}

TEST(RunLog, SaysWhichFileCouldNotBeWrittenAndKeepsWhatWas) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), 0);
  log.add(StepRecord{1, 1, 0, 0, 0, 0, 0, 0});
  const std::string before = read_file(folder / "metrics.jsonl");
  file_fault = [](std::string_view) { return ENOSPC; };
  try {
    log.add(StepRecord{2, 1, 0, 0, 0, 0, 0, 0});
    ADD_FAILURE() << "a failed write went unnoticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::failed);
    EXPECT_NE(std::string(error.what()).find("metrics.jsonl"), std::string::npos);
  }
  file_fault = nullptr;
  EXPECT_EQ(read_file(folder / "metrics.jsonl"), before);
}

TEST(ReadRun, RefusesAFolderThatIsNoRun) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_run(folder.path()), Error);
  EXPECT_THROW(read_run(folder / "absent"), Error);
}

}  // namespace
}  // namespace lowbit::report
