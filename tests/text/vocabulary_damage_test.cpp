#include <gtest/gtest.h>

#include "expect_error.h"
#include "lowbit/base/rng.h"
#include "lowbit/text/tokenizer.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

/// Loads damaged bytes: an Error(input), or a tokenizer that still works.
void try_load(const std::string& bytes) {
  try {
    const Tokenizer tokenizer = Tokenizer::from_bytes(bytes, "damaged");
    tokenizer.decode(tokenizer.encode("the house of 42"));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
  }
}

TEST(VocabularyDamage, EveryCutOfAModelIsRefusedOrStillWorks) {
  const std::string& model = test::sample_tokenizer().file_bytes();
  int refused = 0;
  for (std::size_t size = 0; size < model.size(); size += size < 400 || size > model.size() - 200 ? 1 : 13) {
    try_load(model.substr(0, size));
    try {
      Tokenizer::from_bytes(model.substr(0, size), "cut");
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(VocabularyDamage, ChangedBytesNeverBringItDown) {
  const std::string& model = test::sample_tokenizer().file_bytes();
  const Rng rng(1);
  for (std::uint64_t i = 0; i < 1500; ++i) {
    std::string changed = model;
    for (std::uint64_t k = 0; k < 1 + i % 3; ++k)
      changed[rng.below(8 * i + 2 * k, changed.size())] = static_cast<char>(rng.bits(8 * i + 2 * k + 1));
    try_load(changed);
  }
}

TEST(VocabularyDamage, ALlama2cVocabularyToo) {
  LOWBIT_NEEDS_DATA();
  const std::string bytes = test::get_file(test::data_folder() / "models/stories260K/tok512.bin");
  for (std::size_t size = 0; size < bytes.size(); size += 7) try_load(bytes.substr(0, size));
  for (std::size_t at = 0; at < bytes.size(); at += 5) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x41);
    try_load(changed);
  }
}

TEST(VocabularyDamage, OtherFilesAreNamedForWhatTheyAreNot) {
  for (const std::string& bytes :
       {std::string("hello, this is text\n"), std::string(1000, '\0'), std::string("GGUF\3\0\0\0", 8)}) {
    const auto message = test::error_of(ErrorKind::input, [&] { Tokenizer::from_bytes(bytes, "some.file"); });
    test::expect_contains(message, "some.file");
    test::expect_contains(message, "not a SentencePiece model");
  }
}

}  // namespace
}  // namespace lowbit::text
