#include "lowbit/base/number.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lowbit {
namespace {

using Kind = Whole::Kind;

struct Case {
  const char* text;
  std::uint64_t magnitude;
};

TEST(Number, WholeNumbersMayHaveSuffixesExponentsAndUnderscores) {
  for (const Case& c : {Case{"0", 0}, {"00", 0}, {"7", 7}, {"+7", 7}, {"500", 500}, {"1_000", 1000}, {"64k", 64'000},
                        {"64K", 64'000}, {"2.5M", 2'500'000}, {"2.5m", 2'500'000}, {"1e6", 1'000'000},
                        {"1E+6", 1'000'000}, {"25e5", 2'500'000}, {"1.5e1", 15}, {"3G", 3'000'000'000},
                        {"3B", 3'000'000'000}, {"1.6b", 1'600'000'000}, {"2T", 2'000'000'000'000}, {"4Ki", 4096},
                        {"2.5Ki", 2560}, {"1Mi", 1 << 20}, {"2gi", std::uint64_t{2} << 30}, {"10.0", 10}, {".5k", 500},
                        {"1e0k", 1000}, {"1000e-3", 1}, {"0e9999999", 0}, {"0.000", 0},
                        {"18446744073709551615", 18446744073709551615u}}) {
    const Whole whole = parse_whole(c.text);
    EXPECT_EQ(whole.kind, Kind::number) << c.text;
    EXPECT_FALSE(whole.negative || whole.overflow) << c.text;
    EXPECT_EQ(whole.magnitude, c.magnitude) << c.text;
  }
}

TEST(Number, SignsStay) {
  EXPECT_TRUE(parse_whole("-1").negative);
  EXPECT_EQ(parse_whole("-2.5k").magnitude, 2500u);
  EXPECT_FALSE(parse_whole("-0").negative);
}

TEST(Number, WhatIsTooLargeOverflowsAndNeverWraps) {
  for (const char* text :
       {"18446744073709551616", "1e20", "1e400", "1e99999999999999999999", "99999999999999999999999999999", "20000000T",
        "18014398509481984Ki", "1844674407370955162e1", "-1e30", "100000000000000000000000000000000000000000000000000"})
    EXPECT_TRUE(parse_whole(text).overflow) << text;
}

TEST(Number, WhatIsNotWholeIsAFraction) {
  for (const char* text : {"2.5", "1e-1", "0.1", "1.0001k", "1e-400", "0.3Ki", "1.00000000000000000000000000000000001",
                           "-0.5", "3e-99999999999"})
    EXPECT_EQ(parse_whole(text).kind, Kind::fraction) << text;
}

TEST(Number, AnythingElseIsNoNumber) {
  for (const char* text : {"",   " ",   "abc",  "nan", "inf", "-inf", "0x10", "1,000", "1.000.000", "1__0",
                           "_1", "1_",  "1 ",   " 1",  "--1", "+-1",  "1e",   "1e+",   "e5",        ".",
                           "-",  "1kk", "1ki5", "1Bi", "1q",  "1_k",  "0b1",  "1k ",   "٣",         "1\n"}) {
    EXPECT_EQ(parse_whole(text).kind, Kind::no_number) << text;
    EXPECT_FALSE(parse_real(text, true)) << text;
  }
}

TEST(Number, RealNumbersAreTheNearestDoubles) {
  EXPECT_EQ(parse_real("0.1"), 0.1);
  EXPECT_EQ(parse_real("-1.5e-3"), -1.5e-3);
  EXPECT_EQ(parse_real("1e-8"), 1e-8);
  EXPECT_EQ(parse_real("9007199254740993"), 9007199254740992.0);
  EXPECT_EQ(parse_real("0.30000000000000004"), 0.1 + 0.2);
  EXPECT_EQ(parse_real("1.6B", true), 1.6e9);
  EXPECT_EQ(parse_real("2Ki", true), 2048.0);
  EXPECT_TRUE(std::signbit(*parse_real("-0")));
  for (const char* text : {"1e400", "-1e400", "nan", "INF", "0x1p3", "1k"}) EXPECT_FALSE(parse_real(text)) << text;
}

}  // namespace
}  // namespace lowbit
