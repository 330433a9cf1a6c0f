#include "lowbit/base/utf8.h"

#include <gtest/gtest.h>

#include "expect_error.h"
#include "sample_text.h"

namespace lowbit::text {
namespace {

constexpr auto kValid = std::string_view::npos;

TEST(Utf8, EveryCodePointIsWellFormedAndEveryProperPrefixUnfinished) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string s = test::utf8_of(c);
    ASSERT_EQ(first_invalid_utf8(s), kValid) << static_cast<unsigned>(c);
    ASSERT_EQ(unfinished_utf8(s), 0u);
    for (std::size_t n = 1; n < s.size(); ++n) {
      ASSERT_EQ(unfinished_utf8("ab" + s.substr(0, n)), n) << static_cast<unsigned>(c);
      ASSERT_EQ(first_invalid_utf8("ab" + s.substr(0, n)), 2u);
    }
  }
}

TEST(Utf8, RefusesSurrogatesOverlongFormsAndWhatIsTooLarge) {
  for (char32_t c = 0xD800; c < 0xE000; ++c)
    ASSERT_EQ(first_invalid_utf8(std::string("x").append(test::utf8_of(c))), 1u);
  for (const std::string_view bad :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\x80", "\xBF", "\xFE", "\xFF", "\xC3(", "\xE2\x82(", "\xF0\x9F\x98("})
    EXPECT_EQ(first_invalid_utf8("12345678" + std::string(bad)), 8u) << testing::PrintToString(bad);
}

TEST(Utf8, FindsABadByteBehindAnyAmountOfGoodText) {
  for (std::size_t n = 0; n < 40; ++n) {
    EXPECT_EQ(first_invalid_utf8(std::string(n, 'a') + "\xFF" + std::string(20, 'b')), n);
    EXPECT_EQ(first_invalid_utf8(std::string(n, 'a') + "\u00e9\xFF"), n + 2);
  }
}

TEST(Utf8, WhatCanNeverBecomeACharacterIsNotHeldBack) {
  EXPECT_EQ(unfinished_utf8("a\xED\xA0"), 0u);  // a surrogate's beginning
  EXPECT_EQ(unfinished_utf8("a\xC0"), 0u);
  EXPECT_EQ(unfinished_utf8("\x80\x80\x80"), 0u);
  EXPECT_EQ(unfinished_utf8("\xF0\x9F\x98"), 3u);
}

TEST(Utf8, ReplacesEachMaximalIllFormedStretchByOneMark) {
  EXPECT_EQ(replace_invalid_utf8("a\xFF"
                                 "b\xE2\x82"
                                 "c\xF0\x9F\x98"),
            "a\uFFFDb\uFFFDc\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("gr\u00fcn"), "gr\u00fcn");
}

TEST(Utf8, AnErrorNamesTheByte) {
  const auto message = test::error_of(ErrorKind::input, [] { require_utf8("abc\xFF", "some.txt", 1000); });
  test::expect_contains(message, "some.txt");
  test::expect_contains(message, "byte 1003 (0xff)");
}

}  // namespace
}  // namespace lowbit::text
