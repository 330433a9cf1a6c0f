#include "lowbit/report/text.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lowbit::report {
namespace {

TEST(ReportText, EscapesWhatMarkupWouldTake) {
  EXPECT_EQ(escape("<script>alert('a & \"b\"')</script>"),
            "&lt;script&gt;alert(&#39;a &amp; &quot;b&quot;&#39;)&lt;/script&gt;");
}

TEST(ReportText, ShowsControlCharactersAsPictures) {
  EXPECT_EQ(escape(std::string_view("a\0b\x1b[0m\r\n\tc\x7f", 12)), "a␀b␛[0m␍\n\tc␡");
}

TEST(ReportText, ReplacesBytesThatAreNotUtf8AndKeepsTheRest) {
  EXPECT_EQ(valid_utf8("naïve 日本 😀"), "naïve 日本 😀");
  EXPECT_EQ(valid_utf8("a\xFF"
                       "b"),
            "a\uFFFDb");
  EXPECT_EQ(valid_utf8("\xC3"), "\uFFFD");                                // cut in a character
  EXPECT_EQ(valid_utf8("\xC0\xAF"), "\uFFFD\uFFFD");                      // overlong
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");            // half a surrogate pair
  EXPECT_EQ(valid_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // past U+10FFFF
}

TEST(ReportText, WritesNumbersForReading) {
  EXPECT_EQ(number(3.14159), "3.142");
  EXPECT_EQ(number(12345.6), "12\u202F346");
  EXPECT_EQ(number(0.0006, 1), "0.0006");
  EXPECT_EQ(number(0.00006), "6e-5");
  EXPECT_EQ(number(-2.5, 2), "−2.5");
  EXPECT_EQ(number(1.5e12), "1.5e12");
  EXPECT_EQ(number(0), "0");
  EXPECT_EQ(number(NAN), "–");
  EXPECT_EQ(grouped(3276800), "3\u202F276\u202F800");
  EXPECT_EQ(grouped(-1000), "−1\u202F000");
  EXPECT_EQ(percent(0.0312), "3.1 %");
  EXPECT_EQ(percent(0.5), "50 %");
  EXPECT_EQ(percent(0.00001), "< 0.01 %");
  EXPECT_EQ(percent(INFINITY), "–");
  EXPECT_EQ(coordinate(-0.001), "0");
  EXPECT_EQ(coordinate(12.50), "12.5");
}

}  // namespace
}  // namespace lowbit::report
