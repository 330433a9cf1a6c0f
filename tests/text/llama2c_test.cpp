#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lowbit/text/tokenizer.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

TEST(Llama2c, GivesTheGoldenIdsOfStories260K) {
  LOWBIT_NEEDS_DATA();
  const auto folder = test::data_folder() / "models/stories260K";
  const Tokenizer tokenizer = Tokenizer::load(folder);  // finds tok512.bin
  EXPECT_EQ(tokenizer.description().kind, TokenizerKind::llama2c);
  EXPECT_EQ(tokenizer.vocabulary(), 512u);
  const auto golden = nlohmann::json::parse(test::get_file(folder / "golden.json"));
  ASSERT_FALSE(golden["encode"].empty());
  for (const auto& pair : golden["encode"])
    EXPECT_EQ(tokenizer.encode_document(pair[0].get<std::string>()), pair[1].get<std::vector<TokenId>>()) << pair[0];
  ASSERT_FALSE(golden["prompts"].empty());
  for (const auto& prompt : golden["prompts"]) {
    EXPECT_EQ(tokenizer.encode_document(prompt["prompt"].get<std::string>()),
              prompt["prompt_tokens"].get<std::vector<TokenId>>());
    auto ids = prompt["prompt_tokens"].get<std::vector<TokenId>>();
    const std::string text = prompt["text"].get<std::string>();
    for (const auto& id : prompt["greedy_tokens"]) ids.push_back(id.get<TokenId>());
    const std::string decoded = tokenizer.decode(ids);
    EXPECT_TRUE(decoded.find(text) != std::string::npos) << decoded << "\n--\n" << text;
  }
}

TEST(Llama2c, BringsBackHardAndRandomTextsExactly) {
  LOWBIT_NEEDS_DATA();
  const Tokenizer tokenizer = Tokenizer::load(test::data_folder() / "models/stories260K/tok512.bin");
  ASSERT_TRUE(tokenizer.exact());
  auto texts = test::hard_texts();
  for (std::uint64_t seed = 0; seed < 500; ++seed) texts.push_back(test::random_text(seed, 50));
  for (const std::string& text : texts) EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

}  // namespace
}  // namespace lowbit::text
