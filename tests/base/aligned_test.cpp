#include "lowbit/base/aligned.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace lowbit {
namespace {

TEST(SharedPages, PiecesAreZeroedAlignedAndApart) {
  // More than one chunk, in sizes that are no multiples of a line.
  std::vector<Buffer<std::uint8_t>> pieces(60);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    pieces[i].resize(1000003 + 17 * i, Pages::shared);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pieces[i].data()) % 64, 0u);
    for (const std::uint8_t byte : pieces[i]) ASSERT_EQ(byte, 0);
    for (std::size_t slack = 0; slack < 64; ++slack) ASSERT_EQ(pieces[i].data()[pieces[i].size() + slack], 0);
    for (std::uint8_t& byte : pieces[i]) byte = static_cast<std::uint8_t>(i + 1);
  }
  for (std::size_t i = 0; i < pieces.size(); ++i)
    for (const std::uint8_t byte : pieces[i]) ASSERT_EQ(byte, i + 1);
}

TEST(SharedPages, FollowOneAnotherInMemory) {
  Buffer<float> a, b;
  a.resize(1 << 16, Pages::shared);
  b.resize(1 << 16, Pages::shared);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data()) - reinterpret_cast<std::uintptr_t>(a.data()), (4u << 16) + 64);
}

TEST(SharedPages, ComeBackWhenAllPiecesAreFreed) {
  const void* first = nullptr;
  for (int round = 0; round < 100; ++round) {  // 100 times more than fits a chunk, were nothing given back
    Buffer<float> a, b;
    a.resize(500000, Pages::shared);
    b.resize(1 << 10, Pages::shared);
    if (round == 0) first = a.data();
    EXPECT_EQ(a.data(), first);
    b = Buffer<float>();
    Buffer<float> c = std::move(a);
    c.resize(400000, Pages::shared);
    EXPECT_EQ(c.data(), first);
  }
}

TEST(SharedPages, LargeBuffersHavePagesOfTheirOwn) {
  Buffer<std::uint8_t> large;
  large.resize(kSharedBelow / 2, Pages::shared);
  large.resize(kSharedBelow + 1, Pages::shared);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % kLargePage, 0u);
  EXPECT_EQ(large[kSharedBelow], 0);
}

}  // namespace
}  // namespace lowbit
