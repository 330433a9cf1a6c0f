#include "lowbit/files/token_shard.h"

#include <gtest/gtest.h>

#include <cstring>

#include "expect_error.h"
#include "lowbit/base/hash.h"
#include "lowbit/base/rng.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::files {
namespace {

using test::error_of;

/// Opens and verifies.
void check(const std::filesystem::path& path) { TokenShard(path).verify(); }

class TokenShardTest : public testing::TestWithParam<std::uint64_t> {
 protected:
  /// Seven documents of random ids below the vocabulary.
  void write(bool has_text = true) {
    TokenShardWriter writer(path, GetParam(), 0x1234567890ABCDEF, has_text);
    const Rng rng(9);
    for (std::uint64_t d = 0; d < 7; ++d) {
      if (has_text) writer.begin_document();
      for (std::uint64_t part = 0; part < 2; ++part) {
        std::vector<std::uint32_t> more(1 + rng.below(100 * d + part, 300));
        for (std::size_t i = 0; i < more.size(); ++i)
          more[i] = static_cast<std::uint32_t>(rng.below(10000 * (d + 1) + 1000 * part + i, GetParam()));
        more[0] = static_cast<std::uint32_t>(GetParam() - 1);
        writer.add(more, has_text ? 10 * d + part : 0);
        ids.insert(ids.end(), more.begin(), more.end());
      }
      ends.push_back(ids.size());
    }
    writer.commit();
  }
  test::TemporaryFolder folder;
  std::filesystem::path path = folder / "train.lbd";
  std::vector<std::uint32_t> ids;
  std::vector<std::uint64_t> ends;
};

TEST_P(TokenShardTest, GivesBackWhatWasWritten) {
  write();
  const TokenShard shard(path);
  shard.verify();
  EXPECT_EQ(shard.counts().vocabulary, GetParam());
  EXPECT_EQ(shard.counts().tokenizer_hash, 0x1234567890ABCDEFu);
  EXPECT_EQ(shard.counts().documents, 7u);
  EXPECT_EQ(shard.counts().bytes, 20u * 21 + 7);
  ASSERT_EQ(shard.tokens(), ids.size());
  EXPECT_EQ(shard.width(), GetParam() <= 65536 ? 2u : 4u);
  std::vector<std::uint32_t> read(ids.size());
  shard.copy(0, read);
  EXPECT_EQ(read, ids);
  EXPECT_EQ(shard.token(17), ids[17]);
  for (std::uint64_t d = 0; d < 7; ++d) {
    EXPECT_EQ(shard.document_end(d), ends[d]);
    EXPECT_EQ(shard.document_starts()[d], d ? ends[d - 1] : 0);
    EXPECT_EQ(shard.document_bytes()[d], 20 * d + 1);
  }
}

TEST_P(TokenShardTest, RawTokensHaveNoDocuments) {
  write(false);
  const TokenShard shard(path);
  shard.verify();
  EXPECT_FALSE(shard.has_documents());
  EXPECT_EQ(shard.tokens(), ids.size());
  EXPECT_TRUE(shard.document_starts().empty());
}

TEST_P(TokenShardTest, EveryChangedByteIsFound) {
  write();
  const std::string good = test::get_file(path);
  for (std::size_t at = 0; at < good.size(); at += at < 136 || at > good.size() - 128 ? 1 : 97) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
    test::put_file(path, bad);
    const auto message = error_of(ErrorKind::input, [&] { check(path); });
    test::expect_contains(message, "train.lbd");
  }
}

TEST_P(TokenShardTest, EveryCutAndEveryByteTooManyIsFoundWhenItIsOpened) {
  write();
  const std::string good = test::get_file(path);
  for (std::size_t size = 1; size < good.size(); size += size < 140 ? 3 : 331) {
    test::put_file(path, good.substr(0, size));
    error_of(ErrorKind::input, [&] { TokenShard shard(path); });
  }
  for (const std::size_t more : {1, 2, 8, 16}) {
    test::put_file(path, good + std::string(more, '\0'));
    error_of(ErrorKind::input, [&] { TokenShard shard(path); });
  }
  test::put_file(path, "");
  error_of(ErrorKind::input, [&] { TokenShard shard(path); });
}

/// A header with a count changed and its hash made right again: sizes must be refused by themselves.
TEST_P(TokenShardTest, CountsThatTheFileCannotHoldAreRefusedBeforeUse) {
  write();
  const std::string good = test::get_file(path);
  for (const std::size_t field : {32u, 40u})
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1} << 20, std::uint64_t{1} << 61,
                                      std::uint64_t{1} << 63, ~std::uint64_t{0}, ~std::uint64_t{0} / 16 + 1}) {
      std::string bad = good;
      std::memcpy(bad.data() + field, &value, 8);
      const std::uint64_t hash = hash_bytes(std::as_bytes(std::span(bad).first(120)));
      std::memcpy(bad.data() + 120, &hash, 8);
      test::put_file(path, bad);
      error_of(ErrorKind::input, [&] { TokenShard shard(path); });
    }
}

TEST_P(TokenShardTest, AnIdOutsideTheVocabularyIsFoundThoughAllHashesMatch) {
  write();
  std::string bad = test::get_file(path);
  const std::uint64_t smaller = GetParam() - 1;
  std::memcpy(bad.data() + 16, &smaller, 8);
  const std::uint64_t hash = hash_bytes(std::as_bytes(std::span(bad).first(120)));
  std::memcpy(bad.data() + 120, &hash, 8);
  test::put_file(path, bad);
  test::expect_contains(error_of(ErrorKind::input, [&] { check(path); }), "holds id " + std::to_string(smaller));
}

TEST_P(TokenShardTest, AnUncommittedShardLeavesNothing) {
  {
    TokenShardWriter writer(path, GetParam(), 0, true);
    writer.begin_document();
    const std::vector<std::uint32_t> some(1000, 1);
    writer.add(some, 1);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

INSTANTIATE_TEST_SUITE_P(Widths, TokenShardTest, testing::Values(300, 65536, 65537, 4000000000),
                         testing::PrintToStringParamName());

/// The bytes that docs/reference/formats.md promises, in a file small enough to write down.
TEST(TokenShardBytes, AreThoseOfTheSpecification) {
  const test::TemporaryFolder folder;
  TokenShardWriter writer(folder / "a.lbd", 512, 7, true);
  writer.begin_document();
  const std::vector<std::uint32_t> ids{1, 258, 511};
  writer.add(ids, 5);
  writer.commit();
  const std::string bytes = test::get_file(folder / "a.lbd");
  ASSERT_EQ(bytes.size(), 128u + 8 + 8 + 8);
  EXPECT_EQ(bytes.substr(0, 16), std::string("LOWBITD1\1\0\0\0\2\0\0\0", 16));
  EXPECT_EQ(bytes.substr(128), std::string("\1\0\2\1\xFF\1\0\0"
                                           "\0\0\0\0\0\0\0\0"
                                           "\5\0\0\0\0\0\0\0",
                                           24));
  const std::uint64_t fields[]{512, 7, 3, 1, 5};
  EXPECT_EQ(std::memcmp(bytes.data() + 16, fields, sizeof(fields)), 0);
  const auto hash_of = [&](std::size_t begin, std::size_t size) {
    return hash_bytes(std::as_bytes(std::span(bytes).subspan(begin, size)));
  };
  const std::uint64_t hashes[]{hash_of(128, 6), hash_of(136, 8), hash_of(144, 8), 0, 0, 0, 0, 0, hash_of(0, 120)};
  EXPECT_EQ(std::memcmp(bytes.data() + 56, hashes, sizeof(hashes)), 0);
}

}  // namespace
}  // namespace lowbit::files
