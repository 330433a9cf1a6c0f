#include "lowbit/text/split.h"

#include <gtest/gtest.h>

#include "expect_error.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit::text {
namespace {

struct Sides {
  std::vector<std::string> train, held;
};

Sides split(const std::filesystem::path& file, double share, std::uint64_t seed = 0, std::string line = "~") {
  const ReadOptions options{.document_line = std::move(line)};
  Split plan = Split::plan(TextReader({file}, options), share, seed, [](std::uint64_t) {});
  TextReader reader({file}, options);
  Sides sides;
  TextPiece piece;
  while (reader.next(piece))
    plan.route(piece, [&](std::string_view text, bool begins, bool held) {
      auto& side = held ? sides.held : sides.train;
      if (begins) side.emplace_back();
      side.back() += text;
    });
  return sides;
}

std::size_t bytes(const std::vector<std::string>& documents) {
  std::size_t sum = 0;
  for (const auto& document : documents) sum += document.size();
  return sum;
}

class SplitTest : public testing::Test {
 protected:
  std::filesystem::path file(std::string_view text) {
    test::put_file(folder / "text", text);
    return folder / "text";
  }
  test::TemporaryFolder folder;
};

TEST_F(SplitTest, ManyDocumentsAreDrawnOneByOneBySeed) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "document " + std::to_string(i) + "\n~\n";
  const Sides a = split(file(text), 0.02, 1), again = split(file(text), 0.02, 1), b = split(file(text), 0.02, 2);
  EXPECT_EQ(a.held, again.held);
  EXPECT_NE(a.held, b.held);
  EXPECT_EQ(a.train.size() + a.held.size(), 5000u);
  // Mean 100, standard deviation 9.9: outside these bounds once in 10^5 seeds, and the seed is fixed.
  EXPECT_GT(a.held.size(), 55u);
  EXPECT_LT(a.held.size(), 145u);
  // A draw depends on its index alone: more documents behind change nothing before them.
  const Sides longer = split(file(text + "one more\n~\nand more\n"), 0.02, 1);
  EXPECT_TRUE(std::equal(a.held.begin(), a.held.end(), longer.held.begin()));
}

TEST_F(SplitTest, FewDocumentsAreChosenToComeNearTheShare) {
  std::string text;
  for (std::uint64_t i = 0; i < 300; ++i) text += test::sample_text(2000, i) + "~\n";
  const Sides sides = split(file(text), 0.02, 5);
  EXPECT_EQ(sides.train.size() + sides.held.size(), 300u);
  const double share =
      static_cast<double>(bytes(sides.held)) / static_cast<double>(bytes(sides.held) + bytes(sides.train));
  EXPECT_GE(share, 0.015);
  EXPECT_LE(share, 0.025);
  EXPECT_NE(split(file(text), 0.02, 6).held, sides.held);
}

TEST_F(SplitTest, OneFileGivesItsTailFromALineEndOn) {
  for (const std::size_t size : {std::size_t{3000}, std::size_t{100000}, std::size_t{3000000}}) {
    const std::string text = test::sample_text(size);
    const Sides sides = split(file(text), 0.1);
    ASSERT_EQ(sides.train.size(), 1u);
    ASSERT_EQ(sides.held.size(), 1u);
    EXPECT_EQ(sides.train[0] + sides.held[0], text);
    EXPECT_EQ(sides.train[0].back(), '\n');
    const auto share = static_cast<double>(sides.held[0].size()) / static_cast<double>(text.size());
    EXPECT_LE(share, 0.1);
    EXPECT_GE(share, size < 10000 ? 0.0 : 0.09);
  }
}

TEST_F(SplitTest, ALineLongerThanTheTailIsCutBeforeAWordElseBetweenCharacters) {
  std::string words = test::sample_text(2000000);
  std::erase(words, '\n');
  Sides sides = split(file(words), 0.02);
  ASSERT_EQ(sides.held.size(), 1u);
  EXPECT_EQ(sides.train[0] + sides.held[0], words);
  EXPECT_EQ(sides.held[0][0], ' ');

  std::string characters;
  for (int i = 0; i < 1000; ++i) characters += "\u6211";
  sides = split(file(characters), 0.02);
  ASSERT_EQ(sides.held.size(), 1u);
  EXPECT_EQ(sides.train[0] + sides.held[0], characters);
  EXPECT_EQ(sides.held[0].size(), 60u);
}

TEST_F(SplitTest, AFewBooksGiveATailEach) {
  const Sides sides = split(
      file(test::sample_text(50000, 1) + "~\n" + test::sample_text(80000, 2) + "~\n" + test::sample_text(9000, 3)),
      0.05);
  EXPECT_EQ(sides.train.size(), 3u);
  EXPECT_EQ(sides.held.size(), 3u);
  EXPECT_EQ(sides.train[1] + sides.held[1], test::sample_text(80000, 2));
}

TEST_F(SplitTest, ATextOfOneCharacterCannotBeSplit) {
  const Sides sides = split(file("x"), 0.02);
  EXPECT_EQ(sides.train, std::vector<std::string>{"x"});
  EXPECT_TRUE(sides.held.empty());
  test::error_of(ErrorKind::input, [&] { split(file("~\n~\n"), 0.02); });
}

}  // namespace
}  // namespace lowbit::text
