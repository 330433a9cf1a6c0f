#include <gtest/gtest.h>

#include "lowbit/text/tokenizer.h"
#include "lowbit/base/utf8.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

TEST(StreamDecoder, ShowsWholeCharactersOnlyAndAllOfTheTextInTheEnd) {
  std::vector<Tokenizer> tokenizers{test::sample_tokenizer()};
  if (!test::data_folder().empty())
    tokenizers.push_back(Tokenizer::load(test::data_folder() / "models/tokenizers/mistral-v1.model"));
  for (const Tokenizer& tokenizer : tokenizers) {
    auto texts = test::hard_texts();
    for (std::uint64_t seed = 0; seed < 200; ++seed) texts.push_back(test::random_text(seed, 60));
    for (const std::string& text : texts) {
      const auto ids = tokenizer.encode_document(text);
      StreamDecoder decoder(tokenizer);
      std::string shown;
      for (const TokenId id : ids) {
        const std::string_view now = decoder.push(id);
        ASSERT_EQ(first_invalid_utf8(now), std::string_view::npos) << testing::PrintToString(text);
        shown += now;
      }
      EXPECT_EQ(decoder.finish(), "");
      ASSERT_EQ(shown, tokenizer.decode(ids));
    }
  }
}

TEST(StreamDecoder, GivesBytesThatNeverBecomeACharacterBackAsTheyAre) {
  const Tokenizer& tokenizer = test::sample_tokenizer();
  const auto byte = [](unsigned value) { return static_cast<TokenId>(3 + value); };
  const std::vector<TokenId> ids{byte(0xF0), byte(0x9F), byte('a'), byte(0xFF), byte(0xE2), byte(0x82)};
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(ids[0]), "");
  EXPECT_EQ(decoder.push(ids[1]), "");
  EXPECT_EQ(decoder.push(ids[2]),
            "\xF0\x9F"
            "a");
  EXPECT_EQ(decoder.push(ids[3]), "\xFF");
  EXPECT_EQ(decoder.push(ids[4]), "");
  EXPECT_EQ(decoder.push(ids[5]), "");
  EXPECT_EQ(decoder.finish(), "\xE2\x82");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, AnIdThatOnlyTheModelHasStandsForNothing) {
  const Tokenizer& tokenizer = test::sample_tokenizer();
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(3 + 0xC3), "");
  EXPECT_EQ(decoder.push(static_cast<TokenId>(tokenizer.vocabulary())), "");
  EXPECT_EQ(decoder.push(4000000000u), "");
  EXPECT_EQ(decoder.push(3 + 0xA9), "\u00e9");
}

TEST(StreamDecoder, WhatFollowsAPromptKeepsItsFirstSpace) {
  LOWBIT_NEEDS_DATA();
  const Tokenizer tokenizer = Tokenizer::load(test::data_folder() / "models/tokenizers/mistral-v1.model");
  const TokenId hello = tokenizer.encode("Hello").front();
  EXPECT_EQ(StreamDecoder(tokenizer).push(hello), "Hello");
  EXPECT_EQ(StreamDecoder(tokenizer, false).push(hello), " Hello");
}

}  // namespace
}  // namespace lowbit::text
