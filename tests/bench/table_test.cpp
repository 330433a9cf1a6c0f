#include "lowbit/bench/table.h"

#include <gtest/gtest.h>

namespace lowbit::bench {
namespace {

const Table kTable{{"what", "rate"}, {{"a,b", "1.5"}, {"say \"c\"", "20"}}, 1};

TEST(Table, AlignsWordsLeftAndNumbersRight) {
  EXPECT_EQ(kTable.text(), "what     rate\na,b       1.5\nsay \"c\"    20\n");
}

TEST(Table, MarkdownAndCsv) {
  EXPECT_EQ(kTable.markdown(), "| what | rate |\n|---|---:|\n| a,b | 1.5 |\n| say \"c\" | 20 |\n");
  EXPECT_EQ(kTable.csv(), "what,rate\n\"a,b\",1.5\n\"say \"\"c\"\"\",20\n");
}

TEST(Table, NumbersKeepThreeDigits) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.01234), "0.0123");
  EXPECT_EQ(short_number(4.567), "4.57");
  EXPECT_EQ(short_number(78.94), "78.9");
  EXPECT_EQ(short_number(1234.4), "1234");
}

}  // namespace
}  // namespace lowbit::bench
