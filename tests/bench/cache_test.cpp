#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/bench/ceiling_cache.h"
#include "support/data.h"

namespace lowbit::bench {
namespace {

class CeilingCache : public testing::Test {
 protected:
  void SetUp() override { setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1); }
  void TearDown() override { unsetenv("XDG_CACHE_HOME"); }
  Ceilings get(bool fresh = false) {
    lines_.clear();
    return kept_or_measured_ceilings(alone_, 1, fresh, [&](std::string_view line) { lines_.emplace_back(line); });
  }
  std::filesystem::path file() const { return ceiling_file(1); }

  test::TemporaryFolder folder_;
  SerialExecutor alone_;
  std::vector<std::string> lines_;
};

TEST_F(CeilingCache, MeasuresOnceAndReadsTheSameNumbersAfterwards) {
  const Ceilings first = get();
  EXPECT_TRUE(std::filesystem::exists(file()));
  const Ceilings second = get();
  for (std::size_t i = 0; i < kCeilings; ++i) EXPECT_EQ(first.one[i].median, second.one[i].median);
  EXPECT_EQ(second.caches, cache_sizes());
  EXPECT_TRUE(lines_.empty());
  const std::string bytes = read_file(file());
  get(true);
  EXPECT_NE(read_file(file()), bytes) << "fresh measures again";
}

TEST_F(CeilingCache, ADamagedFileIsMeasuredAnewWithALine) {
  get();
  const std::string good = read_file(file());
  std::string negative = good, other_version = good;
  negative.replace(negative.find("\"median\": "), 10, "\"median\": -");
  other_version.replace(other_version.find("\"version\": \""), 12, "\"version\": \"0");
  const std::string damaged[] = {"", "{", "[1]", "{}", good.substr(0, good.size() / 2), negative, other_version};
  for (const std::string& bytes : damaged) {
    write_file(file(), bytes);
    const Ceilings c = get();
    EXPECT_GT(c.one_of(Ceiling::clock).median, 0);
    ASSERT_EQ(lines_.size(), 1u) << bytes;
    EXPECT_NE(lines_[0].find("measuring anew"), std::string::npos);
    get();
    EXPECT_TRUE(lines_.empty()) << "it was written whole again";
  }
}

TEST_F(CeilingCache, AnotherMachinesNumbersAreNotTaken) {
  get();
  files::Json json = files::read_json(file());
  json["caches"]["L2"] = 12345;
  write_file(file(), files::dump_pretty(json));
  EXPECT_EQ(get().caches, cache_sizes());
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_NE(lines_[0].find("another machine"), std::string::npos);
}

TEST_F(CeilingCache, AFolderThatCannotBeMadeKeepsNothingAndSaysSo) {
  write_file(folder_ / "lowbit", "a file in the folder's place");
  EXPECT_GT(get().one_of(Ceiling::int8).median, 0);
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_NE(lines_[0].find("not kept"), std::string::npos);
}

TEST_F(CeilingCache, FilesOfOtherThreadsAndInstructionSetsAreApart) {
  EXPECT_NE(ceiling_file(1), ceiling_file(2));
  const auto here = ceiling_file(1);
  const Isa before = active_isa();
  force_isa(Isa::scalar);
  if (before != Isa::scalar) {
    EXPECT_NE(ceiling_file(1), here);
  }
  force_isa(before);
}

}  // namespace
}  // namespace lowbit::bench
