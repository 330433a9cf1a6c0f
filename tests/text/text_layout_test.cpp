#include "lowbit/text/text_layout.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "lowbit/text/reader.h"
#include "packed.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

using namespace std::string_literals;
using test::error_of;
using test::expect_contains;
using List = std::vector<std::string>;
namespace fs = std::filesystem;

class Layout : public testing::Test {
 protected:
  fs::path file(std::string_view name, std::string_view bytes) {
    test::put_file(folder / name, bytes);
    return folder / name;
  }
  List read(std::string_view name, std::string_view bytes, ReadOptions options = {}) {
    TextReader reader({file(name, bytes)}, std::move(options));
    List found;
    for (TextPiece piece; reader.next(piece);) {
      if (piece.begins) found.emplace_back();
      found.back() += piece.text;
    }
    return found;
  }
  std::string refused(std::string_view name, std::string_view bytes, ReadOptions options = {}) {
    return error_of(ErrorKind::input, [&] { read(name, bytes, std::move(options)); });
  }
  test::TemporaryFolder folder;
};

const List kTwo{"one", "two \"lines\"\n"};
const std::string kLines = "{\"text\":\"one\"}\n{\"text\":\"two \\\"lines\\\"\\n\"}\n";
const std::string kObjects =
    "[\n  {\"id\": 1, \"text\": \"one\"},\n  {\"text\": \"two \\\"lines\\\"\\n\", \"more\": [{}, []]}\n]\n";
const std::string kTexts = "[\"one\",\"two \\\"lines\\\"\\n\"]";

TEST_F(Layout, JsonIsRecognizedByContentWhateverTheNameOrPacking) {
  for (const std::string& bytes :
       {kLines, kObjects, kTexts, " \n" + kTexts + "\n ", "\xEF\xBB\xBF" + kLines, "\xEF\xBB\xBF" + kTexts})
    for (const std::string name : {"a.json", "a.JSON", "a.jsonl", "A.JSONL", "a.ndjson", "a.txt", "a"}) {
      EXPECT_EQ(read(name, bytes), kTwo) << name << ": " << bytes;
      EXPECT_EQ(read(name + ".gz", test::gz(bytes)), kTwo) << name << ": " << bytes;
      EXPECT_EQ(read(name + ".ZST", test::zst(bytes)), kTwo) << name << ": " << bytes;
    }
}

TEST_F(Layout, PlainTextThatBeginsWithABracketStaysPlain) {
  for (const std::string& text :
       {"[Chapter 1]\nIt was night.\n"s, "[1] a note\n"s, "[\"Hello,\" she said. It was late.]\n"s, "[ ]"s,
        "{ int x; }\n"s, "{\n  \"a\": 1\n}\n"s, "{{braces}} of a wiki\n"s, "[]"s, "{not json\n"s, "[{x}]\n"s,
        "\"quoted\"\n"s, "12\n"s}) {
    EXPECT_EQ(read("a.txt", text), List{text});
  }
  // What could be either is taken as JSON, or as text where that is said.
  EXPECT_EQ(read("a.txt", kLines, {.layout = TextLayout::plain}), List{kLines});
  EXPECT_EQ(read("a.json", kTexts, {.layout = TextLayout::plain}), List{kTexts});
  expect_contains(refused("a.txt", "{}\nfurther lines\n"), "--input-format text");
  expect_contains(refused("a.txt", kLines + "a last line\n"), "--input-format text");
}

TEST_F(Layout, WhatIsNamedJsonButIsNoListOfDocumentsIsRefusedWithTheFlagThatHelps) {
  expect_contains(refused("a.json", "{\n  \"text\": \"one\",\n  \"b\": 2\n}\n"), "several lines");
  expect_contains(refused("a.json", "just text\n"), "--input-format text");
  expect_contains(refused("a.json", "[1, 2, 3]"), "number");
  expect_contains(refused("a.json", "[[\"a\"]]"), "array");
  expect_contains(refused("a.json", "[null]"), "null");
  EXPECT_EQ(read("a.json", "just text\n", {.layout = TextLayout::plain}), List{"just text\n"});
}

TEST_F(Layout, AnArrayOfAnySizeIsReadElementByElement) {
  List expected;
  nlohmann::json array = nlohmann::json::array();
  for (int i = 0; i < 3000; ++i) {
    expected.push_back("document [" + std::to_string(i) + "] {\"\\ " + std::string(static_cast<std::size_t>(i), 'x'));
    if (i % 2)
      array.push_back(expected.back());
    else
      array.push_back({{"meta", {1, 2, nullptr}}, {"text", expected.back()}});
  }
  for (const int indent : {-1, 0, 4}) EXPECT_EQ(read("a.json", array.dump(indent)), expected);
  EXPECT_EQ(read("a.json", "[\"\", \"x\", {\"text\": \"\"}]"), List{"x"});
  EXPECT_EQ(read("b.json", "[{\"body\": \"x\"}]", {.field = "body"}), List{"x"});
}

TEST_F(Layout, ADamagedArrayIsRefusedWithItsLine) {
  for (const std::string bytes :
       {"[\n\"a\",\n\"b\"", "[\n\"a\",\n\"b", "[\n\"a\",\n", "[\n\"a\"\n\"b\"]", "[\n\"a\",\n,\"b\"]", "[\n\"a\",\n]",
        "[\n\"a\",\n\"b\"]\n[\"c\"]", "[\n\"a\",\n{\"text\": 5}]", "[\n\"a\",\n{\"other\": \"x\"}]", "[\n\"a\",\n}]",
        "[\n\"a\",\n{\"text\": \"\xFF\"}]", "[\n\"a\",\nnull]", "[\n\"a\",\n\"\\q\"]"}) {
    const std::string message = refused("a.json", bytes);
    EXPECT_TRUE(message.find("a.json:3") != std::string::npos || message.find("line 3") != std::string::npos ||
                message.find("a.json:4") != std::string::npos)
        << message << " of " << bytes;
  }
}

TEST_F(Layout, TablesArchivesAndDocumentsAreRefusedWithWhatToDo) {
  const std::string binary(300, '\1');
  const auto says = [&](std::string_view bytes, std::string_view what, std::string_view remedy) {
    for (const std::string& packed : {std::string(bytes), test::gz(bytes), test::zst(bytes)}) {
      const std::string message = refused("a.txt", packed);
      expect_contains(message, what);
      expect_contains(message, remedy);
    }
  };
  says("PAR1\x15\0\x15"s + binary, "Parquet", "JSON lines");
  says("ARROW1\0\0"s + binary, "Arrow", "JSON lines");
  says("FEA1\0\0"s + binary, "Feather", "JSON lines");
  says("\xFF\xFF\xFF\xFF\x10\0"s + binary, "Arrow", "JSON lines");
  says("PK\3\4"s + binary, "zip", "unpack");
  says("SQLite format 3\0"s + binary, "SQLite", "sqlite3");
  says("%PDF-1.7\n%text only\n", "PDF", "pdftotext");
  says("BZh91AY&SY\x80\xFF"s + binary, "bzip2", "bzip2 -d");
  says("7z\xBC\xAF\x27\x1C"s + binary, "7z", "unpack");
  std::string tar(512, '\0');
  tar.replace(0, 5, "a.txt");
  tar.replace(257, 5, "ustar");
  says(tar, "tar", "unpack");
  expect_contains(refused("a.txt.gz", test::gz(test::gz("twice packed"))), "gzip archive inside another");
  says("\x89PNG\r\n\x1A\n"s + binary, "image", "text");
  says("LOWBITD1\1\0\0\0"s + binary, "token shard", "text");
  // Names of tables at the beginning of a text do not make it one.
  EXPECT_EQ(read("a.txt", "PAR1 and PAR2 are formats.\n"), List{"PAR1 and PAR2 are formats.\n"});
}

TEST_F(Layout, OtherEncodingsAreNamedAndManyZeroBytesRefusedUnlessAskedFor) {
  const auto wide = [](std::string_view text, bool big) {
    std::string out;
    for (const char c : text) out += big ? std::string{'\0', c} : std::string{c, '\0'};
    return out;
  };
  expect_contains(refused("a.txt", "\xFF\xFE" + wide("hello", false)), "UTF-16");
  expect_contains(refused("a.txt", "\xFE\xFF" + wide("hello", true)), "UTF-16");
  expect_contains(refused("a.jsonl", "\xFF\xFE" + wide(kLines, false)), "iconv -f UTF-16");
  expect_contains(refused("a.txt", wide("hello there", false)), "UTF-16LE");
  expect_contains(refused("a.txt", wide("hello there", true)), "UTF-16BE");
  expect_contains(refused("a.txt", "\xFF\xFE\0\0h\0\0\0"s), "UTF-32");
  expect_contains(refused("a.txt", "\0\0\xFE\xFF\0\0\0h"s), "UTF-32");
  expect_contains(refused("a.txt", "caf\xE9\n"), "iconv");
  EXPECT_EQ(read("a.txt", "a word\0 and more\n"s), List{"a word\0 and more\n"s});
  const std::string zero = "a word\0\0\0 more\n"s;
  expect_contains(refused("a.txt", zero), "the first is byte 6");
  EXPECT_EQ(read("a.txt", zero, {.layout = TextLayout::plain}), List{zero});
  EXPECT_EQ(read("a.jsonl", "{\"text\": \"a\\u0000b\"}"), List{"a\0b"s});
}

TEST_F(Layout, ALineWithoutEndIsRefusedBeforeItTakesMemory) {
  const std::string block = test::zst(std::string(64 << 20, 'x'));
  for (const std::string& start : {"x"s, "{\"text\": \""s, "[\""s}) {
    const std::string name = start == "x" ? "a.txt" : start[0] == '{' ? "a.jsonl" : "a.json";
    std::string bytes = test::zst(start);
    for (int i = 0; i < 64; ++i) bytes += block;  // 4 GiB
    ASSERT_LT(bytes.size(), 1'000'000u);
    expect_contains(refused(name + ".zst", bytes), "--max-line");
  }
  const std::string line = "{\"text\": \"" + std::string(1000, 'x') + "\"}\n";
  const std::string element = "[\"" + std::string(1000, 'x') + "\"]";
  expect_contains(refused("a.jsonl", line, {.most_bytes = 1000}), "a.jsonl:1");
  expect_contains(refused("a.json", element, {.most_bytes = 1000}), "a.json:1");
  EXPECT_EQ(read("a.jsonl", line, {.most_bytes = 1100}).size(), 1u);
  const std::string five(5 << 20, 'x');
  expect_contains(refused("a.txt", five, {.most_bytes = 3 << 20}), "--max-line");
  EXPECT_EQ(read("a.txt", five, {.most_bytes = 6 << 20}), List{five});
}

TEST_F(Layout, LargeAndDeepMembersOfALineTakeTimeThatFollowsTheirSize) {
  std::string members;
  for (int i = 0; i < 60000; ++i) members += ",\"k" + std::to_string(i) + "\":{}";
  EXPECT_EQ(read("a.jsonl", "{\"text\":\"x\"" + members + "}\n"), List{"x"});
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  expect_contains(refused("a.jsonl", "{\"m\":" + deep + ",\"text\":\"x\"}\n"), "deep");
}

}  // namespace
}  // namespace lowbit::text
