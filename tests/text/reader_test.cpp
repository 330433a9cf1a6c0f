#include "lowbit/text/reader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "lowbit/base/rng.h"
#include "packed.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

using test::error_of;
using test::expect_contains;
using test::put_file;
namespace fs = std::filesystem;

/// The documents of files, put together from their pieces.
std::vector<std::string> documents(std::vector<fs::path> files, ReadOptions options = {},
                                   std::size_t* pieces = nullptr) {
  TextReader reader(std::move(files), std::move(options));
  std::vector<std::string> found;
  TextPiece piece;
  bool open = false;
  while (reader.next(piece)) {
    EXPECT_EQ(piece.begins, !open);
    if (piece.begins) found.emplace_back();
    found.back() += piece.text;
    open = !piece.ends;
    if (pieces) ++*pieces;
  }
  EXPECT_FALSE(open);
  return found;
}

class Reader : public testing::Test {
 protected:
  fs::path file(std::string_view name, std::string_view bytes) {
    put_file(folder / name, bytes);
    return folder / name;
  }
  std::string error_reading(const fs::path& path, ReadOptions options = {}) {
    return error_of(ErrorKind::input, [&] { documents({path}, std::move(options)); });
  }
  test::TemporaryFolder folder;
};

TEST_F(Reader, GivesEveryPackingOfATextTheSameBytes) {
  const std::string text = test::sample_text(3000000) + "end without a line break\r\n\r\n\0x";
  std::size_t pieces = 0;
  for (const fs::path& path : {file("a.txt", text), file("a.txt.xz", test::xz(text)), file("a.zst", test::zst(text)),
                               file("a.txt.gz", test::gz(text)), file("known by content", test::xz(text))})
    EXPECT_EQ(documents({path}, {}, &pieces), std::vector<std::string>{text}) << path;
  EXPECT_GT(pieces, 10u) << "a long text comes in pieces";
}

TEST_F(Reader, UnpacksSeveralStreamsInOneFile) {
  const std::string a = test::sample_text(300000, 1), b = test::sample_text(1000, 2);
  EXPECT_EQ(documents({file("a.xz", test::xz(a) + test::xz(b))}), std::vector<std::string>{a + b});
  EXPECT_EQ(documents({file("a.zst", test::zst(a) + test::zst(b))}), std::vector<std::string>{a + b});
  EXPECT_EQ(documents({file("a.gz", test::gz(a) + test::gz(b))}), std::vector<std::string>{a + b});
}

TEST_F(Reader, NoticesEveryCutOfAnArchive) {
  const std::string text = test::sample_text(5000);
  for (const auto& [name, bytes] :
       {std::pair{"a.xz", test::xz(text)}, {"a.zst", test::zst(text)}, {"a.gz", test::gz(text)}})
    for (std::size_t size = 1; size < bytes.size(); size += size < 20 || size + 30 > bytes.size() ? 1 : 131) {
      const std::string message = error_reading(file(name, bytes.substr(0, size)));
      expect_contains(message, name);
      if (size > 20) expect_contains(message, "cut short");
    }
}

TEST_F(Reader, NoticesChangedBytesOfAnArchive) {
  const std::string text = test::sample_text(20000);
  for (const auto& [name, bytes] :
       {std::pair{"a.xz", test::xz(text)}, {"a.zst", test::zst(text)}, {"a.gz", test::gz(text)}})
    for (std::size_t at = 30; at < bytes.size(); at += 397) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ 0x10);
      expect_contains(error_reading(file(name, changed)), name);
    }
  for (const auto& [name, bytes] :
       {std::pair{"b.xz", test::xz(text)}, {"b.zst", test::zst(text)}, {"b.gz", test::gz(text)}})
    error_reading(file(name, bytes + "other bytes behind it"));
}

TEST_F(Reader, RefusesWhatIsMissingAFolderEmptyOrMisnamed) {
  expect_contains(error_reading(folder / "missing.txt"), "missing.txt");
  expect_contains(error_reading(folder.path()), "is a folder");
  expect_contains(error_reading(file("empty.txt", "")), "is empty");
  expect_contains(error_reading(file("empty.txt.xz", test::xz(""))), "unpacks to nothing");
  expect_contains(error_reading(file("plain.txt.gz", "just text")), "named .gz");
  error_of(ErrorKind::usage, [] { TextReader reader({}, {}); });
}

TEST_F(Reader, NamesByteAndLineOfWhatIsNotUtf8) {
  std::string text = test::sample_text(2500000);
  const std::size_t at = text.find('\n', 2000000) + 1;
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  text.insert(at, "\xE9t\xE9");  // Latin-1
  for (const fs::path& path : {file("latin.txt", text), file("latin.zst", test::zst(text))}) {
    const std::string message = error_reading(path);
    expect_contains(message, path.string());
    expect_contains(message, "byte " + std::to_string(at) + " (line " + std::to_string(line) + ", 0xe9)");
  }
  expect_contains(error_reading(file("cut.txt", "whole \xE2\x82")), "byte 6 ");
}

TEST_F(Reader, PartsDocumentsAtTheirLine) {
  const ReadOptions options{.document_line = "<|endoftext|>"};
  const std::string line = "<|endoftext|>";
  const auto read = [&](std::string_view text) { return documents({file("a.txt", text)}, options); };
  using List = std::vector<std::string>;
  EXPECT_EQ(read("one\n" + line + "\ntwo\n" + line + "\n"), (List{"one\n", "two\n"}));
  EXPECT_EQ(read("one\n" + line + "\ntwo\n" + line), (List{"one\n", "two\n"}));
  EXPECT_EQ(read("one\n" + line + "\ntwo"), (List{"one\n", "two"}));
  EXPECT_EQ(read("one\r\n" + line + "\r\ntwo\r\n"), (List{"one\r\n", "two\r\n"}));
  EXPECT_EQ(read(line + "\none"), (List{"one"}));
  EXPECT_EQ(read(line + "\n" + line + "\n\none\n" + line + "\n" + line), (List{"\none\n"}));
  EXPECT_EQ(read("an " + line + "\n" + line + " in a line\n " + line + "\n" + line + "\r"),
            (List{"an " + line + "\n" + line + " in a line\n " + line + "\n" + line + "\r"}));
  EXPECT_EQ(read(line + "\n"), List{});
  EXPECT_EQ(documents({file("a", "a\n" + line + "\nb"), file("b", "c\n" + line)}, options), (List{"a\n", "b", "c\n"}));
}

TEST_F(Reader, FindsDocumentLinesWhereverTheyFallInTheBuffer) {
  const ReadOptions options{.document_line = "----8<----"};
  const Rng rng(3);
  for (std::uint64_t round = 0; round < 4; ++round) {
    std::vector<std::string> expected;
    std::string text;
    for (std::uint64_t i = 0; i < 200; ++i) {
      // Sizes from a few bytes to more than a buffer, so that lines fall on every edge.
      const std::size_t size =
          rng.below(round * 1000 + i, 6) == 0 ? rng.below(i + 7, 400000) + 1 : rng.below(i, 5000) + 1;
      expected.push_back(test::sample_text(size, i).substr(0, size));
      while ((expected.back().back() & 0x80) != 0) expected.back().pop_back();
      if (expected.back().back() != '\n') expected.back() += '\n';
      text += expected.back() + options.document_line + "\n";
    }
    ASSERT_EQ(documents({file("many.txt", text)}, options), expected);
  }
}

TEST_F(Reader, ALongTextWithoutLineEndsIsCutBeforeWordsOrNotAtAll) {
  std::string words = test::sample_text(3000000);
  std::erase(words, '\n');
  std::size_t pieces = 0;
  EXPECT_EQ(documents({file("line.txt", words)}, {}, &pieces), std::vector<std::string>{words});
  EXPECT_GE(pieces, 3u);
  const std::string block(3000000, 'x');
  pieces = 0;
  EXPECT_EQ(documents({file("block.txt", block)}, {}, &pieces), std::vector<std::string>{block});
  EXPECT_EQ(pieces, 1u);
}

TEST_F(Reader, ReadsAFieldOfJsonLines) {
  std::string lines;
  std::vector<std::string> expected;
  for (const std::string& text : test::hard_texts()) {
    lines += nlohmann::json{{"id", 7}, {"text", text}, {"body", text + "b"}}.dump() + "\n";
    if (!text.empty()) expected.push_back(text);
  }
  lines += "\n  \r\n{\"text\": \"CRLF behind\", \"body\":\"\"}\r\n{\"body\": \"\\ud83e\\udd99\", \"text\": \"last\"}";
  expected.insert(expected.end(), {"CRLF behind", "last"});
  for (const fs::path& path :
       {file("a.jsonl", lines), file("a.jsonl.xz", test::xz(lines)), file("a.ndjson.gz", test::gz(lines))})
    EXPECT_EQ(documents({path}), expected);
  EXPECT_EQ(documents({file("b.jsonl", lines)}, {.field = "body"}).back(), "\U0001F999");
}

TEST_F(Reader, NamesTheBadJsonLine) {
  const std::string good = "{\"text\": \"fine\"}\n";
  const auto message = [&](std::string_view bad) {
    return error_reading(file("c.jsonl", good + good + std::string(bad) + "\n" + good));
  };
  for (const std::string_view bad :
       {"{\"text\": \"cut", "not json", "[\"a list\"]", "{\"text\": 5}", "{\"other\": \"x\"}", "{\"text\": null}",
        "{\"text\": \"a\"} {}", "{\"text\": \"\\ud800\"}"})
    expect_contains(message(bad), "c.jsonl:3");
  expect_contains(message("{\"other\": \"x\"}"), "--field");
  expect_contains(message("{\"text\": \"\xFF\"}"), "(line 3, 0xff)");
}

TEST_F(Reader, ReadsManySmallDocumentsInTimeThatFollowsTheirSize) {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += "document " + std::to_string(i) + "\n~\n";
  EXPECT_EQ(documents({file("small.txt", text)}, {.document_line = "~"}).size(), 200000u);
}

}  // namespace
}  // namespace lowbit::text
