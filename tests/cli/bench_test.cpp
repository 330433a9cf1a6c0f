#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "cli/process.h"
#include "lowbit/files/json.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

using files::Json;

/// The programs keep their ceilings in a folder of the test.
class Bench : public testing::Test {
 protected:
  static void SetUpTestSuite() { setenv("XDG_CACHE_HOME", cache().path().c_str(), 1); }
  static TemporaryFolder& cache() {
    static TemporaryFolder folder;
    return folder;
  }
  static Outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
    return run_program(arguments);
  }
  static Json json(const std::vector<std::string>& arguments) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return files::parse_json(outcome.out, "the output");
  }
  static void expect_refused(const std::vector<std::string>& arguments, const std::string& says) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
  }
};

const std::string kTiny = "64x2x2x1x96x40";

void expect_figure(const Json& figure) {
  EXPECT_GT(figure.at("lowest").get<double>(), 0) << figure;
  EXPECT_LE(figure.at("lowest").get<double>(), figure.at("median").get<double>()) << figure;
  EXPECT_LE(figure.at("median").get<double>(), figure.at("highest").get<double>()) << figure;
}

TEST_F(Bench, RooflineTellsEveryCeilingForOneThreadAndAll) {
  const Json found = json({"roofline", "--json", "--threads", "2"});
  for (const char* key : {"clock", "f32", "bf16", "int8", "binary", "L1", "L2", "L3", "memory"}) {
    expect_figure(found["ceilings"]["one_thread"].at(key));
    expect_figure(found["ceilings"]["all_threads"].at(key));
  }
  EXPECT_EQ(found["ceilings"]["threads"], 2);
  EXPECT_TRUE(found["ceilings"]["load"].contains("steal"));
  EXPECT_FALSE(found.contains("layers"));
  const Outcome table = run({"roofline", "--threads", "2"});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_NE(table.out.find("\nbinary "), std::string::npos) << table.out;
}

TEST_F(Bench, RooflineMeasuresEachKindOfLayerInEachFormat) {
  const Json found = json({"roofline", "--json", "--threads", "1", "--shape", kTiny, "--format", "w4a4,bf16", "--rows",
                           "1,64", "--rounds", "2"});
  ASSERT_EQ(found["layers"].size(), 8u * 2 * 2);
  for (const Json& layer : found["layers"]) {
    for (const char* key :
         {"layer", "n", "k", "format", "rows", "threads", "kernel", "bound", "attainable_seconds", "busy"})
      EXPECT_TRUE(layer.contains(key)) << key;
    expect_figure(layer.at("attained_seconds"));
    expect_figure(layer.at("share"));
  }
  const Outcome table = run({"roofline", "--threads", "1", "--shape", kTiny, "--format", "w4a4", "--predict"});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_NE(table.out.find("\ndown "), std::string::npos) << table.out;
}

TEST_F(Bench, ADamagedFileOfCeilingsIsMeasuredAnewWithOneLine) {
  run({"roofline", "--threads", "1"});
  for (const auto& entry : std::filesystem::directory_iterator(cache() / "lowbit"))
    if (FILE* file = std::fopen(entry.path().c_str(), "w")) std::fclose(file);
  const Outcome outcome = run({"roofline", "--threads", "1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_NE(outcome.err.find("measuring anew"), std::string::npos) << outcome.err;
  EXPECT_EQ(run({"roofline", "--threads", "1"}).err, "");
}

TEST_F(Bench, MeasuresPrefillAndDecodeOverLists) {
  const Json found = json({"bench",     "--shape",   kTiny,      "--format", "w4a4,w1a1", "--head",   "w8a8",
                           "--prefill", "8..16,8",   "--decode", "4",        "--context", "0,8",      "--batch",
                           "1,3",       "--threads", "1,2",      "--rounds", "2",         "--output", "json"});
  EXPECT_EQ(found["rounds"], 2);
  ASSERT_EQ(found["results"].size(), 2u * 2 * (2 + 1 * 2 * 2));
  for (const Json& result : found["results"]) {
    EXPECT_EQ(result["head"], "w8a8");
    EXPECT_EQ(result["unit"], "tok/s");
    expect_figure(result.at("value"));
    expect_figure(result.at("share"));
    expect_figure(result.at("ceiling").at("per_second"));
    const bool decode = result["what"].get<std::string>().starts_with("decode");
    EXPECT_EQ(result.contains("bytes_per_token"), decode);
    EXPECT_TRUE(result.contains("busy"));
    EXPECT_TRUE(result["load"].contains("steal"));
  }
}

TEST_F(Bench, MeasuresProductsAloneAndUnderOtherInstructionSets) {
  const Json found = json({"bench", "--shape", kTiny, "--kernels", "--format", "w8a8", "--rows", "1,16", "--isa",
                           "scalar", "--threads", "1", "--rounds", "2", "--output", "json"});
  ASSERT_EQ(found["results"].size(), 8u * 2);
  EXPECT_EQ(found["results"][0]["kernel"], "codes");
  EXPECT_EQ(found["results"][0]["isa"], "scalar");
}

TEST_F(Bench, WritesTablesForPeopleAndPrograms) {
  const std::vector<std::string> common{"bench",    "--shape", kTiny,       "--decode", "2",
                                        "--rounds", "1",       "--threads", "1",        "--output"};
  for (const auto& [form, begins] :
       {std::pair<std::string, std::string>{"csv", "what,format,head,"}, {"md", kTiny}, {"table", kTiny}}) {
    std::vector<std::string> arguments = common;
    arguments.push_back(form);
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(outcome.out.starts_with(begins)) << outcome.out;
    EXPECT_NE(outcome.out.find("decode 2"), std::string::npos);
  }
}

TEST_F(Bench, RefusesWhatItCannotMeasure) {
  expect_refused({"bench", "--shape", "smollm2-153m"}, "did you mean 'smollm2-135m'");
  expect_refused({"bench", "--shape", "what"}, "llama-1b");
  expect_refused({"roofline", "--shape", "what"}, "llama-1b");
  expect_refused({"bench", "--shape", kTiny, "--model", "x"}, "not both");
  expect_refused({"bench", "--shape", kTiny, "--format", "w9a9"}, "w9a9");
  expect_refused({"bench", "--shape", kTiny, "--format", "w4a4,"}, "empty word");
  expect_refused({"bench", "--shape", kTiny, "--prefill", "512..64"}, "goes down");
  expect_refused({"bench", "--shape", kTiny, "--prefill", "many"}, "--prefill many: not a number");
  expect_refused({"bench", "--shape", kTiny, "--prefill", "0"}, "--prefill 0: choose a whole number from 1 to 1048576");
  expect_refused({"bench", "--shape", kTiny, "--threads", "-1"}, "--threads -1: choose a whole number from 0 to 1024");
  expect_refused({"bench", "--shape", kTiny, "--output", "xml"}, "table, md, csv, json");
  expect_refused({"bench", "--shape", kTiny, "--isa", "neon"}, "neon");
  expect_refused({"bench", "--shape", kTiny, "--kernels", "--decode", "3"}, "leave out");
  expect_refused({"bench", "--shape", "100x2x2x1x96x40"}, "no Hadamard group");
  expect_refused({"bench", "--shape", "65536x1000x512x512x65536x65536"}, "choose a smaller shape");
  expect_refused({"bench", "--shape", kTiny, "--kernel", "quick"}, "choose one of codes, packed, planes");
  expect_refused({"bench", "--shape", kTiny, "--format", "w4a4,w8a8", "--kernel", "planes"}, "cannot multiply w8a8");
  expect_refused({"roofline", "--shape", kTiny, "--format", "bf16", "--kernel", "codes"}, "these can: bf16");
  expect_refused({"bench", "--model", "/no/such/folder"}, "/no/such/folder");
  expect_refused({"roofline", "--format", "w4a4"}, "--shape");
}

TEST_F(Bench, CtrlCEndsItWith130) {
  // The first line of the output comes before the layers are measured, which takes minutes.
  const Outcome outcome = run_program(
      {LOWBIT_PROGRAM, "roofline", "--threads", "1", "--shape", "llama-1b", "--rows", "512", "--rounds", "1000"}, "",
      2);
  EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
}

}  // namespace
}  // namespace lowbit::test
