#include "lowbit/text/tokenizer_train.h"

#include <gtest/gtest.h>

#include <regex>

#include "expect_error.h"
#include "lowbit/text/tokenizer.h"
#include "sample_text.h"

namespace lowbit::text {
namespace {

std::string train(std::string_view text, std::size_t vocabulary) {
  TokenizerTrainer trainer(vocabulary);
  trainer.add(text);
  return trainer.train();
}

TEST(TokenizerTrainer, TheModelDoesNotDependOnHowTheTextWasCut) {
  const std::string text = test::sample_text(60000);
  const std::string whole = train(text, 500);
  TokenizerTrainer trainer(500);
  std::string_view rest = text;
  for (std::size_t n = 1; !rest.empty(); ++n) {
    const std::size_t newline = rest.find('\n', std::min(rest.size() - 1, n % 700));
    const std::size_t size = newline == std::string_view::npos ? rest.size() : newline + 1;
    trainer.add(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  EXPECT_EQ(trainer.train(), whole);
  EXPECT_EQ(train(text, 500), whole);
}

TEST(TokenizerTrainer, MakesTheVocabularyAskedForWithLlamasSpecialIds) {
  const Tokenizer tokenizer = Tokenizer::from_bytes(train(test::sample_text(60000), 500), "trained");
  EXPECT_EQ(tokenizer.vocabulary(), 500u);
  EXPECT_EQ(tokenizer.unk(), 0u);
  EXPECT_EQ(tokenizer.bos(), 1u);
  EXPECT_EQ(tokenizer.eos(), 2u);
  for (unsigned b = 0; b < 256; ++b) EXPECT_EQ(tokenizer.bytes(3 + b), std::string(1, static_cast<char>(b)));
  EXPECT_FALSE(tokenizer.adds_dummy_prefix());
  EXPECT_FALSE(tokenizer.description().remove_extra_whitespaces);
  EXPECT_TRUE(tokenizer.description().identity);
  EXPECT_NE(tokenizer.description().record.find("max_sentencepiece_length"), std::string::npos);
}

TEST(TokenizerTrainer, LearnsThePiecesThatTheTextRepeats) {
  const Tokenizer tokenizer = Tokenizer::from_bytes(train(test::sample_text(200000), 600), "trained");
  EXPECT_EQ(tokenizer.encode(" something").size(), 1u);
  EXPECT_EQ(tokenizer.encode(" remember").size(), 1u);
  const std::string text = test::sample_text(20000, 77);
  EXPECT_LT(3 * tokenizer.encode(text).size(), 2 * text.size());
}

TEST(TokenizerTrainer, PiecesHoldNoControlCharactersAndSpacesOnlyInFront) {
  std::string text = test::sample_text(60000);
  for (std::size_t i = 50; i < text.size(); i += 97)
    if (text[i] == ' ') text[i] = i % 2 ? '\t' : '\r';
  text += "    indented\n        more\n    indented\n" + std::string(3000, '\n');
  const Tokenizer tokenizer = Tokenizer::from_bytes(train(text, 500), "trained");
  for (TokenId id = 259; id < tokenizer.vocabulary(); ++id) {
    const std::string_view bytes = tokenizer.bytes(id);
    const std::size_t word = bytes.find_first_not_of(' ');
    if (word != std::string_view::npos) {
      EXPECT_EQ(bytes.find(' ', word), std::string_view::npos) << bytes;
    }
    for (const char c : bytes) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << testing::PrintToString(bytes);
  }
}

TEST(TokenizerTrainer, ATextThatIsTooSmallNamesTheVocabularyThatItGives) {
  const std::string text = "the house and the garden and the little river under the house\n";
  const auto message = test::error_of(ErrorKind::input, [&] { train(text, 4096); });
  std::smatch found;
  ASSERT_TRUE(std::regex_search(message, found, std::regex("use --vocab ([0-9]+)"))) << message;
  const std::size_t largest = std::stoul(found[1]);
  EXPECT_GT(largest, 259u);
  EXPECT_EQ(Tokenizer::from_bytes(train(text, largest), "trained").vocabulary(), largest);
  test::error_of(ErrorKind::input, [&] { train(text, largest + 1); });
}

TEST(TokenizerTrainer, RefusesNoTextAndVocabulariesOutOfRange) {
  test::expect_contains(test::error_of(ErrorKind::input, [] { train("", 500); }), "no words");
  test::expect_contains(test::error_of(ErrorKind::input, [] { train("\n\n\n", 500); }), "no words");
  test::expect_contains(test::error_of(ErrorKind::usage, [] { TokenizerTrainer trainer(263); }), "263");
  test::error_of(ErrorKind::usage, [] { TokenizerTrainer trainer(1000001); });
}

TEST(TokenizerTrainer, AManyCharacterTextFitsASmallVocabulary) {
  std::string text;
  for (char32_t c = 0x4E00; c < 0x5600; ++c) text += test::utf8_of(c) + (c % 16 == 0 ? "\n" : "");
  text += text;
  const Tokenizer tokenizer = Tokenizer::from_bytes(train(text, 300), "trained");
  EXPECT_EQ(tokenizer.vocabulary(), 300u);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(TokenizerTrainer, ReservedCharactersInTheTextDoNoHarm) {
  std::string text = test::sample_text(30000);
  for (const std::string& hard : test::hard_texts()) text += hard + "\n";
  const Tokenizer tokenizer = Tokenizer::from_bytes(train(text, 450), "trained");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

}  // namespace
}  // namespace lowbit::text
