#include "lowbit/text/dataset.h"

#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "lowbit/base/file_lock.h"
#include "lowbit/base/file_write.h"
#include "lowbit/text/tokenizer.h"
#include "packed.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

using test::error_of;
using test::expect_contains;
namespace fs = std::filesystem;

class Dataset : public testing::Test {
 protected:
  Dataset() { test::put_file(folder / "tokenizer.model", test::sample_tokenizer().file_bytes()); }

  fs::path file(std::string_view name, std::string_view bytes) {
    test::put_file(folder / name, bytes);
    return folder / name;
  }
  TextDataOptions options(std::vector<fs::path> in, std::string_view out = "data") {
    TextDataOptions o;
    o.in = std::move(in);
    o.tokenizer = folder / "tokenizer.model";
    o.out.folder = folder / out;
    return o;
  }
  /// The text that a shard holds, document by document; checks begin tokens and byte lengths.
  static std::vector<std::string> documents(const fs::path& path) {
    const files::TokenShard shard(path);
    shard.verify();
    EXPECT_EQ(shard.counts().tokenizer_hash, test::sample_tokenizer().hash());
    std::vector<std::string> found;
    for (std::uint64_t d = 0; d < shard.counts().documents; ++d) {
      std::vector<TokenId> ids(shard.document_end(d) - shard.document_starts()[d]);
      shard.copy(shard.document_starts()[d], ids);
      EXPECT_EQ(ids[0], test::sample_tokenizer().bos());
      found.push_back(test::sample_tokenizer().decode(ids));
      EXPECT_EQ(found.back().size(), shard.document_bytes()[d]);
      // What `run` and `eval` encode is what was trained on.
      EXPECT_EQ(test::sample_tokenizer().encode_document(found.back()), ids);
    }
    return found;
  }
  test::TemporaryFolder folder;
};

TEST_F(Dataset, HoldsTheTextOfEveryDocumentExactly) {
  std::string text, held_text;
  std::vector<std::string> expected, held;
  for (std::uint64_t i = 0; i < 40; ++i) {
    expected.push_back(i % 2 ? test::sample_text(100 << i % 13, i) : test::random_text(i, 500));
    text += expected.back() + (expected.back().ends_with('\n') ? "" : "\n") + "~~\n";
    if (!expected.back().ends_with('\n')) expected.back() += "\n";
  }
  held = {test::sample_text(5000, 99)};
  auto o = options({file("a.txt.xz", test::xz(text))});
  o.read.document_line = "~~";
  o.valid_in = {file("held.txt", held[0])};
  o.threads = 2;
  const DataSummary summary = make_text_data(o);
  EXPECT_EQ(documents(folder / "data/train.lbd"), expected);
  EXPECT_EQ(documents(folder / "data/valid.lbd"), held);
  EXPECT_EQ(summary.train.documents, 40u);
  EXPECT_EQ(Tokenizer::load(folder / "data").hash(), test::sample_tokenizer().hash());
  const auto json = nlohmann::json::parse(test::get_file(folder / "data/data.json"));
  EXPECT_EQ(json["train"]["tokens"], summary.train.tokens);
  EXPECT_EQ(json["vocabulary"], 600);
  EXPECT_EQ(json["options"]["document_line"], "~~");
}

TEST_F(Dataset, TheBytesAreTheSameForAnyNumberOfThreads) {
  std::string lines;
  for (std::uint64_t i = 0; i < 3000; ++i)
    lines += nlohmann::json{{"text", test::sample_text(20 << i % 8, i)}}.dump() + "\n";
  const std::vector<fs::path> in{file("a.jsonl.zst", test::zst(lines)),
                                 file("long.txt", test::sample_text(6000000, 5))};
  std::vector<std::string> first;
  for (const int threads : {1, 2, 5}) {
    auto o = options(in, "data" + std::to_string(threads));
    o.threads = threads;
    o.seed = 3;
    make_text_data(o);
    std::vector<std::string> bytes;
    for (const char* name : {"train.lbd", "valid.lbd", "data.json", "tokenizer.model"})
      bytes.push_back(test::get_file(o.out.folder / name));
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first) << threads << " threads";
  }
}

TEST_F(Dataset, AHeldOutTailIsTextOfItsOwn) {
  const std::string text = test::sample_text(1500000);
  auto o = options({file("one.txt", text)});
  o.valid_share = 0.05;
  const DataSummary summary = make_text_data(o);
  expect_contains(summary.split, "last 5 %");
  const auto train = documents(folder / "data/train.lbd"), valid = documents(folder / "data/valid.lbd");
  ASSERT_EQ(train.size(), 1u);
  ASSERT_EQ(valid.size(), 1u);
  EXPECT_EQ(train[0] + valid[0], text);
}

TEST_F(Dataset, AModelWithADummyPrefixIsEncodedInPartsAsInOne) {
  LOWBIT_NEEDS_DATA();
  auto o = options({file("a.txt", test::sample_text(2500000))});
  o.tokenizer = test::data_folder() / "models/tokenizers/mistral-v1.model";
  o.valid_in = {file("b.txt", "held out\n")};
  make_text_data(o);
  const Tokenizer tokenizer = Tokenizer::load(o.tokenizer);
  const files::TokenShard shard(folder / "data/train.lbd");
  std::vector<TokenId> ids(shard.tokens());
  shard.copy(0, ids);
  EXPECT_EQ(ids, tokenizer.encode_document(test::sample_text(2500000)));
}

TEST_F(Dataset, EmptyDocumentsAreLeftOutAndCounted) {
  auto o = options({file("a.txt", "~\n~\none\n~\n~\ntwo\n~\n")});
  o.read.document_line = "~";
  o.valid_share = 0.5;
  const DataSummary summary = make_text_data(o);
  EXPECT_EQ(summary.empty_documents, 3u);
}

TEST_F(Dataset, RefusesAFolderThatIsNotEmptyUnlessForced) {
  auto o = options({file("a.txt", test::sample_text(5000))});
  make_text_data(o);
  const std::string before = test::get_file(folder / "data/train.lbd");
  o.in = {file("b.txt", test::sample_text(6000, 2))};
  expect_contains(error_of(ErrorKind::usage, [&] { make_text_data(o); }), "--force");
  EXPECT_EQ(test::get_file(folder / "data/train.lbd"), before);
  o.out.force = true;
  make_text_data(o);
  EXPECT_NE(test::get_file(folder / "data/train.lbd"), before);
}

TEST_F(Dataset, BadInputLeavesNoFileAndNoFolder) {
  std::string bad = test::sample_text(3000000);
  bad[2900000] = '\xFF';
  for (const bool held : {false, true}) {
    auto o = options({file("bad.txt", held ? test::sample_text(5000) : bad)});
    if (held) o.valid_in = {file("bad2.txt", bad)};
    expect_contains(error_of(ErrorKind::input, [&] { make_text_data(o); }), "not UTF-8");
    EXPECT_FALSE(fs::exists(folder / "data"));
  }
  auto o = options({file("one.txt", "x")});
  expect_contains(error_of(ErrorKind::input, [&] { make_text_data(o); }), "no text could be held out");
  EXPECT_FALSE(fs::exists(folder / "data"));
  o.valid_share = 0.7;
  expect_contains(error_of(ErrorKind::usage, [&] { make_text_data(o); }), "0.7");
}

TEST_F(Dataset, AFailedWriteIsToldAndLeavesWhatWasThere) {
  auto o = options({file("a.txt", test::sample_text(100000))});
  make_text_data(o);
  const std::string before = test::get_file(folder / "data/train.lbd");
  o.out.force = true;
  o.in = {file("b.txt", test::sample_text(3000000, 4))};
  file_fault = [](std::string_view call) { return call == "write" ? ENOSPC : 0; };
  const std::string message = error_of(ErrorKind::failed, [&] { make_text_data(o); });
  file_fault = {};
  expect_contains(message, "No space left");
  EXPECT_EQ(test::get_file(folder / "data/train.lbd"), before);
  int files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder / "data")) ++files;
  EXPECT_EQ(files, 4);
}

TEST_F(Dataset, AStopBetweenTheShardsLeavesAFolderThatHoldsNoDataAndTheRepeatedCommandMakesIt) {
  auto o = options({file("a.txt", test::sample_text(100000))});
  make_text_data(o);
  o.out.force = true;
  o.in = {file("b.txt", test::sample_text(200000, 4))};
  // Every rename fails in turn: the first is that of valid.lbd, then the tokenizer, train.lbd, data.json.
  for (int fail_at = 0; fail_at < 4; ++fail_at) {
    int renames = 0;
    file_fault = [&](std::string_view call) { return call == "rename" && renames++ == fail_at ? EIO : 0; };
    error_of(ErrorKind::failed, [&] { make_text_data(o); });
    file_fault = {};
    EXPECT_FALSE(fs::exists(folder / "data/data.json")) << fail_at;
  }
  make_text_data(o);
  EXPECT_TRUE(fs::exists(folder / "data/data.json"));
}

TEST_F(Dataset, LeftoversOfAKilledProcessGoAndDoNotNeedForce) {
  fs::create_directories(folder / "data");
  for (const char* name : {"train.lbd.tmp-0123456789abcdef", "valid.lbd.tmp-1-0"})
    write_file(folder / "data" / name, "x");
  make_text_data(options({file("a.txt", test::sample_text(100000))}));
  for (const auto& entry : fs::directory_iterator(folder / "data"))
    EXPECT_FALSE(is_temporary_name(entry.path().filename().native())) << entry.path();
}

TEST_F(Dataset, TwoProcessesDoNotWriteOneFolder) {
  auto o = options({file("a.txt", test::sample_text(100000))});
  make_text_data(o);
  o.out.force = true;
  const FolderLock other(folder / "data");
  ASSERT_TRUE(other.held());
  expect_contains(error_of(ErrorKind::usage, [&] { make_text_data(o); }), "another process");
  EXPECT_TRUE(fs::exists(folder / "data/data.json"));
}

class RawDataset : public Dataset {
 protected:
  RawDataOptions raw(std::vector<fs::path> in, std::uint64_t vocabulary, int width = 2) {
    RawDataOptions o;
    o.in = std::move(in);
    o.vocabulary = vocabulary;
    o.width = width;
    o.out.folder = folder / "data";
    return o;
  }
  static std::string bytes_of(const std::vector<std::uint32_t>& ids, std::size_t width) {
    std::string bytes;
    for (const std::uint32_t id : ids) bytes.append(reinterpret_cast<const char*>(&id), width);
    return bytes;
  }
};

TEST_F(RawDataset, TakesTheIdsAsTheyAreAndHoldsOutTheLast) {
  std::vector<std::uint32_t> ids(700000);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(i * 7919 % 50257);
  for (const int width : {2, 4}) {
    auto o = raw({file("a.bin", bytes_of(ids, static_cast<std::size_t>(width))),
                  file("b.bin.xz", test::xz(bytes_of(ids, static_cast<std::size_t>(width))))},
                 50257, width);
    o.out.force = true;
    o.valid_share = 0.1;
    make_raw_data(o);
    const files::TokenShard train(folder / "data/train.lbd"), valid(folder / "data/valid.lbd");
    train.verify();
    valid.verify();
    EXPECT_FALSE(train.has_documents());
    ASSERT_EQ(train.tokens(), 1260000u);
    ASSERT_EQ(valid.tokens(), 140000u);
    EXPECT_EQ(train.width(), 2u);
    for (std::size_t i = 0; i < 1400000; i += 997)
      ASSERT_EQ(i < 1260000 ? train.token(i) : valid.token(i - 1260000), ids[i % ids.size()]);
  }
}

TEST_F(RawDataset, NamesTheBadIdAndTheOddFile) {
  std::string message = error_of(ErrorKind::input, [&] {
    make_raw_data(raw({file("a.bin", bytes_of({1, 2, 300, 4}, 2))}, 300));
  });
  expect_contains(message, "id 300 at place 2");
  expect_contains(message, "a.bin");
  message = error_of(ErrorKind::input, [&] { make_raw_data(raw({file("odd.bin", "12345")}, 60000)); });
  expect_contains(message, "5 bytes");
  error_of(ErrorKind::input, [&] { make_raw_data(raw({file("short.bin", "12")}, 60000)); });
  error_of(ErrorKind::usage, [&] { make_raw_data(raw({file("a.bin", "1234")}, 0)); });
  error_of(ErrorKind::usage, [&] { make_raw_data(raw({file("a.bin", "1234")}, 65537)); });
  EXPECT_FALSE(fs::exists(folder / "data"));
}

}  // namespace
}  // namespace lowbit::text
