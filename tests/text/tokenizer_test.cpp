#include "lowbit/text/tokenizer.h"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <thread>

#include "expect_error.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

using test::sample_tokenizer;

/// The ids that the SentencePiece library gives.
std::vector<TokenId> library_ids(const sentencepiece::SentencePieceProcessor& library, std::string_view text) {
  std::vector<TokenId> ids;
  for (const int id : library.EncodeAsIds(text)) ids.push_back(static_cast<TokenId>(id));
  return ids;
}

std::vector<std::string> parted(const std::string& text, std::string_view mark) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (std::size_t found; (found = text.find(mark, at)) != std::string::npos; at = found + mark.size())
    parts.push_back(text.substr(at, found - at));
  parts.push_back(text.substr(at));
  return parts;
}

std::vector<std::string> ggml_inputs() {
  return parted(test::get_file(test::data_folder() / "models/tokenizers/ggml-vocab-phi-3.gguf.inp"),
                "\n__ggml_vocab_test__\n");
}

TEST(Tokenizer, BringsBackHardTextsExactly) {
  const Tokenizer& tokenizer = sample_tokenizer();
  ASSERT_TRUE(tokenizer.exact());
  for (const std::string& text : test::hard_texts()) {
    const auto ids = tokenizer.encode(text);
    EXPECT_EQ(tokenizer.decode(ids), text) << testing::PrintToString(text);
    for (const TokenId id : ids) EXPECT_NE(id, *tokenizer.unk());
    EXPECT_EQ(tokenizer.decode(tokenizer.encode_document(text)), text);
  }
}

TEST(Tokenizer, BringsBackRandomTextsExactly) {
  const Tokenizer& tokenizer = sample_tokenizer();
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const std::string text = test::random_text(seed, seed % 80);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << "seed " << seed;
  }
}

TEST(Tokenizer, BringsBackTheHardInputsOfLlamaCppAndABook) {
  LOWBIT_NEEDS_DATA();
  const auto inputs = ggml_inputs();
  ASSERT_EQ(inputs.size(), 47u);
  for (const std::string& text : inputs) EXPECT_EQ(sample_tokenizer().decode(sample_tokenizer().encode(text)), text);
  const std::string book = test::get_file(test::data_folder() / "corpora/wikitext2-raw-test.txt");
  ASSERT_GT(book.size(), 1000000u);
  EXPECT_EQ(sample_tokenizer().decode(sample_tokenizer().encode(book)), book);
}

TEST(Tokenizer, ByteLengthsAddUpToTheText) {
  const Tokenizer& tokenizer = sample_tokenizer();
  const std::string text = test::random_text(5, 3000);
  std::size_t bytes = 0;
  for (const TokenId id : tokenizer.encode(text)) bytes += tokenizer.byte_length(id);
  EXPECT_EQ(bytes, text.size());
}

TEST(Tokenizer, AgreesWithTheSentencePieceLibraryOnItsOwnModels) {
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(sample_tokenizer().file_bytes()).ok());
  const auto compare = [&](const std::string& text) {
    // The library reads U+2581 as a space; ours keeps it apart.
    if (text.find("\u2581") == std::string::npos) {
      ASSERT_EQ(sample_tokenizer().encode(text), library_ids(library, text)) << testing::PrintToString(text);
    }
  };
  for (const std::string& text : test::hard_texts()) compare(text);
  for (std::uint64_t seed = 0; seed < 500; ++seed) compare(test::random_text(seed, seed % 12));
  compare(test::sample_text(50000, 9));
}

TEST(Tokenizer, AgreesWithTheSentencePieceLibraryOnALlamaModel) {
  LOWBIT_NEEDS_DATA();
  const auto path = test::data_folder() / "models/tokenizers/mistral-v1.model";
  const Tokenizer tokenizer = Tokenizer::load(path);
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.Load(path.string()).ok());
  EXPECT_EQ(tokenizer.vocabulary(), 32000u);
  EXPECT_EQ(tokenizer.unk(), 0u);
  EXPECT_EQ(tokenizer.bos(), 1u);
  EXPECT_EQ(tokenizer.eos(), 2u);
  EXPECT_TRUE(tokenizer.adds_dummy_prefix());
  auto texts = ggml_inputs();
  for (const std::string& text : test::hard_texts()) texts.push_back(text);
  for (std::uint64_t seed = 0; seed < 500; ++seed) texts.push_back(test::random_text(seed, seed % 40));
  texts.push_back(test::get_file(test::data_folder() / "corpora/tinystories-sample.txt"));
  for (const std::string& text : texts) {
    const auto ids = tokenizer.encode(text);
    ASSERT_EQ(ids, library_ids(library, text)) << testing::PrintToString(text);
    std::string kept = text;
    for (std::size_t at; (at = kept.find("\u2581")) != std::string::npos;) kept.replace(at, 3, 1, ' ');
    ASSERT_EQ(tokenizer.decode(ids), kept);
  }
}

// Pieces by name, so that a reader can judge them without the library.
TEST(Tokenizer, KnownIdsOfAMistralText) {
  LOWBIT_NEEDS_DATA();
  const Tokenizer tokenizer = Tokenizer::load(test::data_folder() / "models/tokenizers/mistral-v1.model");
  std::string pieces;
  for (const TokenId id : tokenizer.encode("Hello, world!\n")) pieces += std::string(tokenizer.piece(id)) + "|";
  EXPECT_EQ(pieces, "\u2581Hello|,|\u2581world|!|<0x0A>|");
  EXPECT_EQ(tokenizer.encode("\n"), (std::vector<TokenId>{28705, 13}));  // the dummy prefix, then byte 10
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8AndNamesTheByte) {
  const auto message = test::error_of(ErrorKind::input, [] { sample_tokenizer().encode("fine \xC3("); });
  test::expect_contains(message, "byte 5");
}

TEST(Tokenizer, RefusesAnIdOutsideTheVocabulary) {
  const std::vector<TokenId> ids{5, 600};
  const auto message = test::error_of(ErrorKind::input, [&] { sample_tokenizer().decode(ids); });
  test::expect_contains(message, "token 1 is id 600");
}

TEST(Tokenizer, PartsCutAtLastCutGiveTheIdsOfTheWhole) {
  std::vector<Tokenizer> tokenizers{sample_tokenizer()};
  if (!test::data_folder().empty()) {
    tokenizers.push_back(Tokenizer::load(test::data_folder() / "models/tokenizers/mistral-v1.model"));
    tokenizers.push_back(Tokenizer::load(test::data_folder() / "models/stories260K/tok512.bin"));
  }
  for (const Tokenizer& tokenizer : tokenizers)
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      std::string text = seed % 2 ? test::random_text(seed, 400) : test::sample_text(2000, seed);
      if (seed % 3 == 0) std::erase(text, '\n');  // cut before words, then
      const auto whole = tokenizer.encode(text);
      std::vector<TokenId> parts;
      Encoder encoder(tokenizer);
      std::string_view rest = text;
      std::size_t cuts = 0;
      while (!rest.empty()) {
        std::size_t size = std::min<std::size_t>(rest.size(), 30 + seed);
        while (size < rest.size() && (rest[size] & 0xC0) == 0x80) ++size;
        std::size_t cut = size < rest.size() ? tokenizer.last_cut(rest.substr(0, size)) : size;
        for (std::size_t n = size; cut == 0 && n <= rest.size(); ++n)
          cut = n == rest.size() ? n : (rest[n] & 0xC0) == 0x80 ? 0 : tokenizer.last_cut(rest.substr(0, n));
        encoder.encode(rest.substr(0, cut), rest.size() == text.size(), parts);
        rest.remove_prefix(cut);
        ++cuts;
      }
      ASSERT_EQ(parts, whole) << "seed " << seed;
      EXPECT_GT(cuts, 5u);
    }
}

TEST(Tokenizer, AnEncoderThatRemembersWordsGivesTheSameIds) {
  const std::string text = test::sample_text(300000, 3) + test::random_text(4, 20000);
  std::vector<TokenId> remembered;
  Encoder encoder(sample_tokenizer());
  encoder.encode(text, true, remembered);  // long enough for its table
  std::vector<TokenId> fresh;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t newline = rest.find('\n');
    const std::string_view line = rest.substr(0, newline == std::string_view::npos ? newline : newline + 1);
    const auto ids = sample_tokenizer().encode(line);
    fresh.insert(fresh.end(), ids.begin(), ids.end());
    rest.remove_prefix(line.size());
  }
  EXPECT_EQ(remembered, fresh);
}

TEST(Tokenizer, ThreadsMayShareOne) {
  const std::string text = test::sample_text(100000, 8);
  const auto expected = sample_tokenizer().encode(text);
  std::vector<std::vector<TokenId>> found(4);
  std::vector<std::thread> threads;
  for (auto& ids : found) threads.emplace_back([&] { ids = sample_tokenizer().encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& ids : found) EXPECT_EQ(ids, expected);
}

TEST(Tokenizer, LoadsFromAFileOrTheFolderThatHoldsIt) {
  const test::TemporaryFolder folder;
  test::put_file(folder / "tokenizer.model", sample_tokenizer().file_bytes());
  for (const auto& path : {folder.path(), folder / "tokenizer.model"}) {
    const Tokenizer loaded = Tokenizer::load(path);
    EXPECT_EQ(loaded.hash(), sample_tokenizer().hash());
    EXPECT_EQ(loaded.encode("the house"), sample_tokenizer().encode("the house"));
  }
  const test::TemporaryFolder empty;
  test::expect_contains(test::error_of(ErrorKind::input, [&] { Tokenizer::load(empty.path()); }), "no tokenizer.model");
  test::error_of(ErrorKind::input, [&] { Tokenizer::load(empty / "missing"); });
}

}  // namespace
}  // namespace lowbit::text
