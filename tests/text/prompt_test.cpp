#include "lowbit/text/prompt.h"

#include <gtest/gtest.h>

#include "files/expect_error.h"
#include "lowbit/base/file_write.h"
#include "model/make_folder.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

using test::TemporaryFolder;
using Ids = std::vector<TokenId>;

/// Ids 259 to 262 are "he", "lo", "hello" and "<|im_end|>"; a text begins with a space.
Tokenizer tokenizer() {
  return Tokenizer::from_bytes(test::tokenizer_bytes({"he", "lo", " h", "<|im_end|>"}), "the test's tokenizer");
}

PromptReader reader(const TemporaryFolder& folder, std::int64_t vocabulary = 300) {
  return {tokenizer(), folder.path(), vocabulary};
}

/// The ids of a text that goes on, begin token and the space of a beginning left out.
Ids middle(std::string_view text) {
  Ids ids;
  Encoder(tokenizer()).encode(text, false, ids);
  return ids;
}

Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Prompt, WithoutFilesIsReadByTheTokenizerAlone) {
  const TemporaryFolder folder;
  const auto read = reader(folder).encode("hello <b>", false);
  EXPECT_EQ(read.ids, tokenizer().encode_document("hello <b>"));
  EXPECT_TRUE(read.warnings.empty());
}

TEST(Prompt, AddedWordsBecomeTheirIds) {
  const TemporaryFolder folder;
  write_file(folder / "added_tokens.json", R"({"<|im_start|>": 270, "<|im|>": 271})");
  const auto read = reader(folder).encode("lo<|im_start|>he<|im|>", false);
  EXPECT_EQ(read.ids, tokenizer().encode_document("lo") + Ids{270} + middle("he") + Ids{271});
  EXPECT_TRUE(read.warnings.empty());
  EXPECT_EQ(reader(folder).added_text(270), "<|im_start|>");
  EXPECT_EQ(reader(folder).added_text(272), "");
}

TEST(Prompt, SpecialTokensInItArePlainTextWithAWarningUnlessAskedFor) {
  const TemporaryFolder folder;
  write_file(
      folder / "tokenizer_config.json",
      R"({"added_tokens_decoder": {"270": {"content": "<|im_start|>", "special": true}, "271": {"content": "word"}}})");
  const std::string prompt = "he<|im_start|>lo</s>";
  const auto plain = reader(folder).encode(prompt, false);
  EXPECT_EQ(plain.ids, tokenizer().encode_document(prompt));
  ASSERT_EQ(plain.warnings.size(), 2u);
  EXPECT_NE(plain.warnings[0].find("</s>"), std::string::npos);
  EXPECT_NE(plain.warnings[1].find("<|im_start|>"), std::string::npos);
  EXPECT_NE(plain.warnings[1].find("--special-tokens"), std::string::npos);
  const auto asked = reader(folder).encode(prompt, true);
  EXPECT_EQ(asked.ids, tokenizer().encode_document("he") + Ids{270} + middle("lo") + Ids{2});
  EXPECT_TRUE(asked.warnings.empty());
  EXPECT_EQ(reader(folder).encode("word", false).ids, (Ids{1, 271})) << "what is not special is a word";
}

TEST(Prompt, ThatSpellsItsBeginTokenHasItOnce) {
  const TemporaryFolder folder;
  EXPECT_EQ(reader(folder).encode("<s>he", true).ids, Ids{1} + middle("he"));
  EXPECT_EQ(reader(folder).encode("<s><s>", true).ids, (Ids{1, 1}));
}

TEST(Prompt, BeginsWithoutTheBeginTokenWhereTheFolderSaysSo) {
  const TemporaryFolder folder;
  write_file(folder / "tokenizer_config.json", R"({"add_bos_token": false})");
  EXPECT_FALSE(reader(folder).begins());
  EXPECT_EQ(reader(folder).encode("he", false).ids, tokenizer().encode("he"));
  EXPECT_TRUE(reader(folder).encode("", false).ids.empty());
}

TEST(Prompt, NamesOfSpecialTokensAloneAreLookedUpInTheTokenizer) {
  const TemporaryFolder folder;
  write_file(
      folder / "special_tokens_map.json",
      R"({"eos_token": {"content": "<|im_end|>"}, "additional_special_tokens": ["<|tool|>"], "bos_token": "<s>"})");
  const auto read = reader(folder).encode("lo<|im_end|>he<|tool|>", true);
  EXPECT_EQ(read.ids, tokenizer().encode_document("lo") + Ids{262} + middle("he<|tool|>"));
  ASSERT_EQ(read.warnings.size(), 1u);
  EXPECT_NE(read.warnings[0].find("<|tool|>"), std::string::npos);
}

TEST(Prompt, TokensThatTheModelOrTheTokenizerHasOtherwiseAreWarnedOf) {
  const TemporaryFolder folder;
  write_file(folder / "added_tokens.json", R"({"<|far|>": 300, "<|no|>": 260, "lo": 260})");
  test::expect_error(ErrorKind::input, {"added_tokens.json", "two things", "260"}, [&] { reader(folder); });
  write_file(folder / "added_tokens.json", R"({"<|far|>": 300, "<|no|>": 260})");
  const auto read = reader(folder).encode("<|far|><|no|>", true);
  EXPECT_EQ(read.ids, tokenizer().encode_document("<|far|><|no|>"));
  ASSERT_EQ(read.warnings.size(), 2u);
  EXPECT_NE(read.warnings[0].find("vocabulary of 300"), std::string::npos) << read.warnings[0];
  EXPECT_NE(read.warnings[1].find("\"lo\""), std::string::npos) << read.warnings[1];
  EXPECT_TRUE(reader(folder).encode("he", true).warnings.empty()) << "only of what stands in the prompt";
}

TEST(Prompt, FilesThatDoNotAgreeOrCannotBeReadAreRefusedByName) {
  const TemporaryFolder folder;
  const auto expect_refused = [&](std::initializer_list<std::string_view> says) {
    test::expect_error(ErrorKind::input, says, [&] { reader(folder); });
  };
  write_file(folder / "added_tokens.json", R"({"<|a|>": 270})");
  write_file(folder / "tokenizer_config.json", R"({"added_tokens_decoder": {"271": {"content": "<|a|>"}}})");
  expect_refused({"added_tokens.json", "<|a|>", "270", "271"});
  write_file(folder / "tokenizer_config.json", R"({"added_tokens_decoder": {"-1": {"content": "<|b|>"}}})");
  expect_refused({"tokenizer_config.json", "-1"});
  write_file(folder / "tokenizer_config.json", R"({"added_tokens_decoder": {"99999999999": {"content": "<|b|>"}}})");
  expect_refused({"tokenizer_config.json", "99999999999"});
  write_file(folder / "tokenizer_config.json", "[1]");
  expect_refused({"tokenizer_config.json"});
  write_file(folder / "tokenizer_config.json", R"({"a": 1, "a": 2})");
  expect_refused({"tokenizer_config.json", "twice"});
  write_file(folder / "tokenizer_config.json", "{}");
  write_file(folder / "added_tokens.json", R"({"<|a|>": -1})");
  expect_refused({"added_tokens.json", "<|a|>"});
}

TEST(Prompt, WhiteSpaceAndWordEndsCountWhereATokenSaysSo) {
  const TemporaryFolder folder;
  write_file(folder / "tokenizer_config.json", R"({"added_tokens_decoder": {
      "270": {"content": "<x>", "lstrip": true, "rstrip": true}, "271": {"content": "yes", "single_word": true}}})");
  EXPECT_EQ(reader(folder).encode("he <x> \nlo", false).ids,
            tokenizer().encode_document("he") + Ids{270} + middle("lo"));
  EXPECT_EQ(reader(folder).encode("yes yesterday", false).ids, Ids({1, 271}) + middle(" yesterday"));
}

TEST(Prompt, TheLongestOfSeveralTokensCounts) {
  const TemporaryFolder folder;
  write_file(folder / "added_tokens.json", R"({"ab": 270, "abc": 271, "b": 272})");
  EXPECT_EQ(reader(folder).encode("abcab", false).ids, (Ids{1, 271, 270}));
}

}  // namespace
}  // namespace lowbit::text
