#include "lowbit/base/words.h"

#include <gtest/gtest.h>

#include "lowbit/base/utf8.h"

namespace lowbit {
namespace {

TEST(Words, OneOfAThingHasNoS) {
  EXPECT_EQ(counted(1, "step"), "1 step");
  EXPECT_EQ(counted(0, "step"), "0 steps");
  EXPECT_EQ(counted(2u, "step"), "2 steps");
  EXPECT_EQ(counted(1, "piece of text", "pieces of text"), "1 piece of text");
  EXPECT_EQ(counted(3, "piece of text", "pieces of text"), "3 pieces of text");
}

TEST(Words, NothingThatATerminalWouldObeyIsShown) {
  EXPECT_EQ(one_line("a\x1b[2Jb\r\n\tc\x7f"), "a [2Jb c ");
  EXPECT_EQ(one_line("a\xC2\x9B" "31mb"), "a 31mb");  // U+009B begins a command in one character
  EXPECT_EQ(one_line("a\xC2\xA0" "b"), "a\xC2\xA0" "b");
  EXPECT_EQ(one_line("half \xE2\x82"), "half \uFFFD");
  EXPECT_EQ(shown("a\n\tb\x1b[0m"), "a\n\tb [0m");
}

TEST(Words, ExcerptsAreCutBetweenCharacters) {
  const std::string euros = "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac";
  for (std::size_t most = 3; most <= euros.size() + 2; ++most) {
    const std::string cut = excerpt(euros, most);
    EXPECT_LE(cut.size(), most);
    EXPECT_EQ(first_invalid_utf8(cut), std::string_view::npos) << most;
    EXPECT_EQ(cut.ends_with("..."), most < euros.size()) << most;
  }
  EXPECT_EQ(excerpt("short", 5), "short");
  EXPECT_EQ(excerpt(std::string(1 << 20, 'x'), 10), "xxxxxxx...");
  EXPECT_EQ(excerpt(std::string(1 << 20, '\xFF'), 9), "\uFFFD\uFFFD...");
}

}  // namespace
}  // namespace lowbit
