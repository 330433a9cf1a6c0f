#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "cli/process.h"
#include "lowbit/base/file_write.h"
#include "lowbit/files/json.h"
#include "lowbit/model/model_folder.h"
#include "model/make_folder.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;
using files::Json;

class EvalVerb : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"model", "long", "huge"}) make_folder(folder / name);
    write_model(folder / "model", small_model(), random_tensors(small_model()));
    write_file(folder / "model" / "tokenizer.model", tokenizer_bytes({"he", "lo"}));
    write_file(folder / "text.txt", sentences(40));
  }
  static std::string sentences(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "hello there, this is sentence " + std::to_string(i) + "\n";
    return text;
  }
  std::string path(std::string_view name) const { return (folder / name).string(); }
  Outcome eval(std::vector<std::string> more, std::string_view model = "model") const {
    std::vector<std::string> arguments{LOWBIT_PROGRAM, "eval", "--model", path(model), "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  }
  Json eval_json(std::vector<std::string> more, std::string_view model = "model") const {
    more.push_back("--json");
    const Outcome outcome = eval(more, model);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return files::parse_json(outcome.out, "the output");
  }
  TemporaryFolder folder;
};

TEST_F(EvalVerb, AWindowLongerThanTheContextIsRefused) {
  for (const std::string seq : {"49", "288230376151711744"}) {
    const Outcome outcome = eval({"--text", path("text.txt"), "--seq", seq});
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_NE(outcome.err.find("--seq"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(eval({"--text", path("text.txt"), "--seq", "48"}).exit_code, 0);
}

TEST_F(EvalVerb, AShortTextTakesTheTimeAndMemoryOfItsLengthWhateverTheContext) {
  const auto long_context = [](Json& config) { config["max_position_embeddings"] = 131072; };
  write_model(folder / "long", small_model(), random_tensors(small_model()), long_context);
  write_file(folder / "long" / "tokenizer.model", tokenizer_bytes({"he", "lo"}));
  rusage before{}, after{};
  getrusage(RUSAGE_CHILDREN, &before);
  const auto start = std::chrono::steady_clock::now();
  const Json found = eval_json({"--text", path("text.txt")}, "long");
  getrusage(RUSAGE_CHILDREN, &after);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_LT(after.ru_maxrss, 400'000) << "kilobytes, the largest of all children";
  EXPECT_EQ(found["window"], found["tokens"]);
}

TEST_F(EvalVerb, ALossThatIsNotFiniteIsAFailureAndNoNumber) {
  auto tensors = random_tensors(small_model());
  // Finite weights whose products are not.
  RawTensor& norm = tensors.at("model.norm.weight");
  auto* values = reinterpret_cast<float*>(norm.bytes.data());
  std::fill(values, values + norm.bytes.size() / 4, 3e38F);
  write_model(folder / "huge", small_model(), tensors);
  write_file(folder / "huge" / "tokenizer.model", tokenizer_bytes({"he", "lo"}));
  const Outcome outcome = eval({"--text", path("text.txt")}, "huge");
  EXPECT_EQ(outcome.exit_code, 1) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("not finite"), std::string::npos) << outcome.err;
}

TEST_F(EvalVerb, TheShareOfUnknownTokensIsToldAndBitsPerByteRefusedAboveOnePercent) {
  write_file(folder / "words.txt", "hello there this is a sentence\nsome other words come here\nthe end of it\n");
  std::string tokenizer;
  ASSERT_TRUE(sentencepiece::SentencePieceTrainer::Train({{"input", path("words.txt")},
                                                          {"model_type", "bpe"},
                                                          {"vocab_size", "40"},
                                                          {"hard_vocab_limit", "false"},
                                                          {"normalization_rule_name", "identity"},
                                                          {"minloglevel", "2"}},
                                                         nullptr, &tokenizer)
                  .ok());
  fs::remove(folder / "model" / "tokenizer.model");
  write_file(folder / "words.model", tokenizer);
  write_file(folder / "russian.txt", "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 hello there\n");
  Outcome outcome = eval({"--text", path("russian.txt"), "--tokenizer", path("words.model"), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json found = files::parse_json(outcome.out, "the output");
  EXPECT_GT(found["unknown_share"].get<double>(), 0.01);
  EXPECT_TRUE(found["bits_per_byte"].is_null());
  EXPECT_NE(outcome.err.find("<unk>"), std::string::npos) << outcome.err;

  outcome = run_program({LOWBIT_PROGRAM, "data", "--in", path("russian.txt"), "--valid-in", path("russian.txt"),
                         "--tokenizer", path("words.model"), "--out", path("data"), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_GT(files::parse_json(outcome.out, "the output")["train"]["unknown_share"].get<double>(), 0.01);
  EXPECT_NE(outcome.err.find("<unk>"), std::string::npos) << outcome.err;
  const Json data = files::read_json(folder / "data" / "data.json");
  EXPECT_GT(data["unknown_tokens"]["valid"].get<int>(), 0);

  write_file(folder / "english.txt", "hello there this is a sentence\n");
  outcome = run_program({LOWBIT_PROGRAM, "data", "--in", path("english.txt"), "--valid-in", path("english.txt"),
                         "--tokenizer", path("words.model"), "--out", path("english")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(EvalVerb, IntervalsTellTheirLevelAndWhatTheyAreOver) {
  const Outcome outcome = eval({"--text", path("text.txt"), path("text.txt")});
  EXPECT_NE(outcome.out.find("95 % confidence intervals, bootstrap over 2 documents"), std::string::npos)
      << outcome.out;
  EXPECT_EQ(eval_json({"--text", path("text.txt")})["interval_level"], 0.95);
}

TEST_F(EvalVerb, EveryFormOfATextGivesTheSameFigures) {
  const std::string one = "hello there", two = "this is \"it\"\n";
  const auto json = [](const std::string& text) { return Json(text).dump(); };
  write_file(folder / "a.jsonl", "{\"text\":" + json(one) + "}\n{\"text\":" + json(two) + "}\n");
  write_file(folder / "b.json", "[{\"text\":" + json(one) + "},\n {\"text\":" + json(two) + "}]\n");
  write_file(folder / "c", "[" + json(one) + "," + json(two) + "]");
  const Json wanted = eval_json({"--text", path("a.jsonl")});
  EXPECT_EQ(wanted["bytes"], one.size() + two.size());
  for (const std::string name : {"b.json", "c"}) EXPECT_EQ(eval_json({"--text", path(name)}), wanted) << name;
  EXPECT_NE(eval_json({"--text", path("c"), "--input-format", "text"})["bytes"], wanted["bytes"]);
}

}  // namespace
}  // namespace lowbit::test
