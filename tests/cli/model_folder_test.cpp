#include "lowbit/model/model_folder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "cli/process.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/files/json.h"
#include "lowbit/model/companions.h"
#include "model/make_folder.h"
#include "support/data.h"

// Model folders as the verbs take them.
namespace lowbit::test {
namespace {

namespace fs = std::filesystem;
using files::Json;
using Ids = std::vector<std::int64_t>;

Outcome lowbit(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
  return run_program(arguments);
}

Outcome run(const fs::path& model, const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"run", "--model", model.string(), "--threads", "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return lowbit(arguments);
}

Json run_json(const fs::path& model, std::vector<std::string> more) {
  more.push_back("--json");
  const Outcome outcome = run(model, more);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return files::parse_json(outcome.out, "the output");
}

void expect_refused(const Outcome& outcome, std::string_view says) {
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
}

void add_tokenizer(const fs::path& folder) { write_file(folder / "tokenizer.model", tokenizer_bytes({"he", "lo"})); }

TEST(RunEndTokens, EachOfAListEndsTheTextWhereverItIsGiven) {
  const TemporaryFolder folder;
  write_model(folder.path(), small_model(), random_tensors(small_model()));
  add_tokenizer(folder.path());
  const std::vector<std::string> prompt{"--prompt", "hello", "--max-tokens", "16", "--temperature", "3"};
  const Json all = run_json(folder.path(), prompt);
  EXPECT_EQ(all["stop"], "length");
  const Ids drawn = all["tokens"].get<Ids>();
  ASSERT_EQ(drawn.size(), 16u);
  ASSERT_NE(drawn[0], drawn[3]);
  std::set<std::int64_t> unused;
  for (std::int64_t id = 0; unused.size() < 1; ++id)
    if (std::find(drawn.begin(), drawn.end(), id) == drawn.end()) unused.insert(id);
  std::size_t first = 0;
  while (drawn[first] != drawn[3]) ++first;
  const Ids wanted(drawn.begin(), drawn.begin() + static_cast<std::ptrdiff_t>(first));
  const auto expect_stop = [&](std::string_view where) {
    const Json found = run_json(folder.path(), prompt);
    EXPECT_EQ(found["tokens"].get<Ids>(), wanted) << where;
    EXPECT_EQ(found["stop"], "end token") << where;
  };
  write_config(folder.path(), small_model(), [&](Json& json) { json["eos_token_id"] = {*unused.begin(), drawn[3]}; });
  expect_stop("config.json");
  write_config(folder.path(), small_model());
  write_file(folder / "generation_config.json", files::dump_line({{"eos_token_id", {*unused.begin(), drawn[3]}}}));
  expect_stop("generation_config.json alone");
  write_config(folder.path(), small_model(), [&](Json& json) { json["eos_token_id"] = *unused.begin(); });
  write_file(folder / "generation_config.json", files::dump_line({{"eos_token_id", drawn[3]}}));
  expect_stop("one in each");
  EXPECT_EQ(run_json(folder.path(),
                     {"--prompt", "hello", "--max-tokens", "16", "--temperature", "3", "--ignore-eos"})["tokens"],
            all["tokens"]);
}

TEST(RunContext, ThatIsFullIsNamedAsWhatEndedTheText) {
  const TemporaryFolder folder;
  write_model(folder.path(), small_model(), random_tensors(small_model()));
  add_tokenizer(folder.path());
  const Json found = run_json(folder.path(), {"--prompt", "he", "--max-tokens", "100"});
  EXPECT_EQ(found["stop"], "context");
  EXPECT_EQ(found["tokens"].size() + found["prompt_tokens"].size(), 48u);
  EXPECT_NE(run(folder.path(), {"--prompt", "he", "--max-tokens", "100"}).err.find("ended by the end of the context"),
            std::string::npos);
  EXPECT_NE(run(folder.path(), {"--prompt", "he", "--max-tokens", "5", "--context", "6"})
                .err.find("ended by the end of the context"),
            std::string::npos);
  EXPECT_NE(run(folder.path(), {"--prompt", "he", "--max-tokens", "5"}).err.find("ended by --max-tokens"),
            std::string::npos);
}

TEST(RunTokenizer, IsTakenFromElsewhereWhereAFolderHasNone) {
  const TemporaryFolder folder, other;
  write_model(folder.path(), small_model(), random_tensors(small_model()));
  expect_refused(run(folder.path(), {"--prompt", "he"}), "tokenizer.model");
  add_tokenizer(other.path());
  const std::vector<std::string> by_folder{"--prompt", "hello",       "--max-tokens",
                                           "4",        "--tokenizer", other.path().string()};
  const std::vector<std::string> by_file{"--prompt", "hello",       "--max-tokens",
                                         "4",        "--tokenizer", (other / "tokenizer.model").string()};
  const Json found = run_json(folder.path(), by_folder);
  EXPECT_EQ(found["tokens"], run_json(folder.path(), by_file)["tokens"]);
  add_tokenizer(folder.path());
  EXPECT_EQ(found["tokens"], run_json(folder.path(), {"--prompt", "hello", "--max-tokens", "4"})["tokens"]);
}

TEST(RunTokenizer, InPlaceOfTheFoldersIsTakenOnlyWithAsManyPieces) {
  const TemporaryFolder folder, other;
  write_model(folder.path(), small_model(), random_tensors(small_model()));
  add_tokenizer(folder.path());
  write_file(other / "tokenizer.model", tokenizer_bytes({"ab", "cd"}));
  const Outcome outcome =
      run(folder.path(), {"--prompt", "abcd", "--max-tokens", "2", "--tokenizer", other.path().string()});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("in place of another one"), std::string::npos) << outcome.err;
  write_file(other / "tokenizer.model", tokenizer_bytes({"ab"}));
  expect_refused(run(folder.path(), {"--prompt", "x", "--tokenizer", other.path().string()}), "260 pieces");
  write_file(other / "tokenizer.model", tokenizer_bytes(std::vector<std::string>(50, "ab")));
  expect_refused(run(folder.path(), {"--prompt", "x", "--tokenizer", other.path().string()}), "309 pieces");
}

TEST(EvalTokenizer, IsTakenFromElsewhereForText) {
  const TemporaryFolder folder, other;
  write_model(folder.path(), small_model(), random_tensors(small_model()));
  add_tokenizer(other.path());
  write_file(folder / "text.txt", std::string(200, 'h') + "ello\n");
  const std::vector<std::string> eval{
      "eval", "--model", folder.path().string(), "--text", (folder / "text.txt").string(), "--json"};
  expect_refused(lowbit(eval), "tokenizer.model");
  std::vector<std::string> with = eval;
  with.insert(with.end(), {"--tokenizer", other.path().string()});
  const Outcome found = lowbit(with);
  EXPECT_EQ(found.exit_code, 0) << found.err;
  add_tokenizer(folder.path());
  const auto nats = [](const Outcome& o) { return files::parse_json(o.out, "the output")["nats_per_token"]; };
  EXPECT_EQ(nats(found), nats(lowbit(eval)));
}

TEST(RunSpecialTokens, AreTokensOnlyWhereAskedForAndNeverSplitInSilence) {
  const TemporaryFolder folder;
  write_model(folder.path(), small_model(), random_tensors(small_model()));
  add_tokenizer(folder.path());
  const auto prompt_ids = [&](const std::vector<std::string>& more) {
    return run_json(folder.path(), more)["prompt_tokens"].get<Ids>();
  };
  const auto holds = [](const Ids& ids, std::int64_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); };
  const std::vector<std::string> prompt{"--prompt", "he</s><|im|>", "--max-tokens", "1"};
  EXPECT_FALSE(holds(prompt_ids(prompt), 2));
  EXPECT_NE(run(folder.path(), prompt).err.find("</s>"), std::string::npos);
  std::vector<std::string> asked = prompt;
  asked.push_back("--special-tokens");
  EXPECT_TRUE(holds(prompt_ids(asked), 2));
  write_file(folder / "added_tokens.json", R"({"<|im|>": 280})");
  EXPECT_EQ(prompt_ids(prompt).back(), 280);
  EXPECT_NE(run(folder.path(), prompt).out.find("<|im|>"), std::string::npos) << "the prompt is shown as it was given";
  write_file(folder / "added_tokens.json", R"({"<|im|>": 300})");
  const Outcome outcome = run(folder.path(), prompt);
  EXPECT_NE(outcome.err.find("outside the model's vocabulary of 300"), std::string::npos) << outcome.err;
}

TEST(RunBeginToken, IsTheTokenizersWithALineWhereConfigJsonHasAnother) {
  const TemporaryFolder folder;
  write_model(folder.path(), small_model(), random_tensors(small_model()),
              [](Json& json) { json["bos_token_id"] = 5; });
  add_tokenizer(folder.path());
  const Outcome outcome = run(folder.path(), {"--prompt", "he", "--max-tokens", "1"});
  EXPECT_NE(outcome.err.find("bos_token_id is 5"), std::string::npos) << outcome.err;
  EXPECT_EQ(run_json(folder.path(), {"--prompt", "he", "--max-tokens", "1"})["prompt_tokens"][0], 1);
  write_file(folder / "tokenizer_config.json", R"({"add_bos_token": false})");
  EXPECT_NE(run_json(folder.path(), {"--prompt", "he", "--max-tokens", "1"})["prompt_tokens"][0], 1);
}

TEST(InspectModelFolder, ListsKeysEndTokensAndFiles) {
  const TemporaryFolder folder;
  const RawTensors tensors = random_tensors(small_model());
  write_config(folder.path(), small_model(), [](Json& json) {
    json["unsloth_version"] = "1", json["eos_token_id"] = {2, 7};
  });
  write_shards(folder.path(), tensors, 2);
  const Outcome text = lowbit({"inspect", folder.path().string()});
  EXPECT_NE(text.out.find("unsloth_version"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("2, 7"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("in 2 files"), std::string::npos) << text.out;
  const Json json = files::parse_json(lowbit({"inspect", folder.path().string(), "--json"}).out, "the output");
  EXPECT_EQ(json["ignored_keys"], Json({"unsloth_version"}));
  EXPECT_EQ(json["end_tokens"], Json({2, 7}));
  EXPECT_EQ(json["weight_files"], 2);
}

TEST(EveryVerb, OpensShardsAndPackKeepsWhatLiesBesideThem) {
  const TemporaryFolder folder, out;
  model::ModelDescription description = small_model();
  description.scheme = default_scheme(parse_format("w4a4"));
  description.config.eos = {2, 7};
  write_config(folder.path(), description);
  write_shards(folder.path(), random_tensors(description), 3);
  add_tokenizer(folder.path());
  for (const std::string_view name : model::kCompanionFiles)
    if (name.ends_with(".json"))
      write_file(folder / name, name == "generation_config.json" ? R"({"eos_token_id": [2, 9]})" : "{}");
  write_file(folder / "chat_template.jinja", "{{ x }}");
  const fs::path packed = out / "packed", ids = out / "ids";
  EXPECT_EQ(lowbit({"pack", "--model", folder.path().string(), "--out", packed.string()}).exit_code, 0);
  for (const std::string_view name : model::kCompanionFiles)
    EXPECT_EQ(read_file(packed / name), read_file(folder / name)) << name;
  EXPECT_EQ(model::ModelFolder(packed).config().eos, (Ids{2, 7, 9}));
  write_file(ids, std::string(24, '\1'));
  const auto logits = [&](const fs::path& model, const std::string& name) {
    const Outcome o = lowbit({"logits", "--model", model.string(), "--ids", ids.string(), "--ids-bytes", "4", "--out",
                              (out / name).string()});
    return o;
  };
  expect_refused(logits(packed, "a.npy"), "outside the vocabulary");
  write_file(ids, std::string("\1\0\7\0\2\0\x10\0", 8));
  for (const auto& [model, name] : {std::pair{folder.path(), "a.npy"}, {packed, "b.npy"}})
    EXPECT_EQ(
        lowbit({"logits", "--model", model.string(), "--ids", ids.string(), "--out", (out / name).string()}).exit_code,
        0);
  EXPECT_EQ(read_file(out / "a.npy"), read_file(out / "b.npy"));
  EXPECT_EQ(run(folder.path(), {"--prompt", "he", "--max-tokens", "2"}).exit_code, 0);
}

TEST(PackTokenizer, OfLlama2cGoesAlong) {
  const TemporaryFolder folder, out;
  model::ModelDescription description = small_model();
  description.scheme = default_scheme(parse_format("w4a4"));
  write_model(folder.path(), description, random_tensors(description));
  write_file(folder / "tok300.bin", tokenizer_bytes({"he"}));
  EXPECT_EQ(lowbit({"pack", "--model", folder.path().string(), "--out", (out / "packed").string()}).exit_code, 0);
  EXPECT_EQ(run(out / "packed", {"--prompt", "he", "--max-tokens", "2"}).exit_code, 0);
}

}  // namespace
}  // namespace lowbit::test
