#include "lowbit/laws/points.h"

#include <gtest/gtest.h>

#include "files/expect_error.h"
#include "lowbit/laws/bits.h"

namespace lowbit::laws {
namespace {

using test::expect_error;

TEST(Csv, ColumnsStandInAnyOrderAndCaseBesideOthers) {
  const Points p = read_csv(
      "\xEF\xBB\xBFseed,Loss,format,d,n\r\n# a remark\r\n1,3.2,BF16,3B,30M\r\n\r\n2,\"3.4\",\"a, "
      "\"\"b\"\"\",\"3,000\",3_0\r\n",
      "x");
  ASSERT_EQ(p.points.size(), 2u);
  EXPECT_EQ(p.points[0].n, 3e7);
  EXPECT_EQ(p.points[0].d, 3e9);
  EXPECT_EQ(p.points[0].loss, 3.2);
  EXPECT_EQ(p.points[1].n, 30);
  EXPECT_EQ(p.points[1].d, 3000);
  EXPECT_EQ(p.formats, (std::vector<std::string>{"BF16", "a, \"b\""}));
  EXPECT_EQ(p.points[1].where, "x:5");
}

TEST(Csv, ARunThatWasNotMadeIsLeftOutAndSaid) {
  const Points p = read_csv("N,D,format,loss\n1M,1M,bf16,\n1M,1M,w4a4,-\n1M,1M,w4a4,3\n", "x");
  EXPECT_EQ(p.points.size(), 1u);
  ASSERT_EQ(p.notes.size(), 1u);
  EXPECT_NE(p.notes[0].find("2 rows"), std::string::npos) << p.notes[0];
}

TEST(Csv, SpellingOfLettersMakesNoSecondFormat) {
  EXPECT_EQ(read_csv("N,D,format,loss\n1,1,W4A4,3\n2,2,w4a4,3\n", "x").formats.size(), 1u);
}

TEST(Csv, WhatCannotBeUsedIsNamedWithItsLine) {
  const auto refuse = [](std::string_view text, std::initializer_list<std::string_view> parts) {
    expect_error(ErrorKind::input, parts, [&] { read_csv(text, "runs.csv"); });
  };
  refuse("", {"runs.csv", "N,D,format,loss"});
  refuse("N,D,loss\n1,1,1\n", {"runs.csv:1", "'format'", "N,D,loss"});
  refuse("N,D,format,loss,LOSS\n", {"two columns 'loss'"});
  refuse("N,D,format,loss\n1M,1M,bf16,nan\n", {"runs.csv:2", "loss is 'nan'"});
  refuse("N,D,format,loss\n1M,1M,bf16,inf\n", {"runs.csv:2", "loss is 'inf'"});
  refuse("N,D,format,loss\n1M,1M,bf16,-3\n", {"runs.csv:2", "loss is '-3'"});
  refuse("N,D,format,loss\n0,1M,bf16,3\n", {"N is '0'"});
  refuse("N,D,format,loss\n1M,many,bf16,3\n", {"D is 'many'"});
  refuse("N,D,format,loss\n1M,1M,,3\n", {"format is empty"});
  refuse("N,D,format,loss\n1M,1M\n", {"runs.csv:2", "2 cells"});
  refuse("N,D,format,loss\n\"1M,1M,bf16,3\n", {"runs.csv:2", "quote"});
  refuse("N,D,format,loss\n", {"no runs"});
}

TEST(Bits, AreReadFromNamesAsPeopleWriteThem) {
  const auto is = [](std::string_view name, double weight, double activation) {
    const auto bits = bits_of(name);
    ASSERT_TRUE(bits) << name;
    EXPECT_EQ(bits->weight, weight) << name;
    EXPECT_EQ(bits->activation, activation) << name;
  };
  is("w4a4", 4, 4);
  is("W1.58A8", 1.58, 8);
  is("no-HT W2A16", 2, 16);
  is("w4a4 clip no-rotation", 4, 4);
  is("BF16", 16, 16);
  is("f32", 16, 16);
  is("fp4", 4, 4);
  is("2:4 INT4", 2.5, 4);
  is("w4a4+2:4", 2.5, 4);
  is("bf16+2:4", 8.5, 16);
  is("LSQ W3A3", 3, 3);
  EXPECT_FALSE(bits_of("best"));
  EXPECT_FALSE(bits_of("half 2"));
  EXPECT_FALSE(bits_of(""));
}

}  // namespace
}  // namespace lowbit::laws
