#include "lowbit/report/tensorboard.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "support/data.h"

namespace lowbit::report {
namespace {

using lowbit::test::TemporaryFolder;

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

// What TensorBoard 2's own RecordWriter and protocol buffers write for the two records below.
const std::string kGoldenVersion =
    from_hex("1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110");
const std::string kGoldenScalars = from_hex(
    "2c00000000000000f4aecc450900005040fc54d94110ac022a1e0a110a0a6c6f73732f747261696e15000050400a090a026c7215000000bf"
    "117b0db1");
const std::vector<Scalar> kGolden = {{"loss/train", 3.25f}, {"lr", -0.5f}};

TEST(Crc32c, GivesThePublishedValues) {  // RFC 3720, appendix B.4
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string up, down;
  for (int i = 0; i < 32; ++i) {
    up += static_cast<char>(i);
    down += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc32c(up), 0x46DD794Eu);
  EXPECT_EQ(crc32c(down), 0x113FDB5Cu);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(EventFile, WritesTheBytesThatTensorBoardWrites) {
  EXPECT_EQ(version_record(1700000000.5), kGoldenVersion);
  EXPECT_EQ(scalars_record(1700000001.25, 300, kGolden), kGoldenScalars);
  const TemporaryFolder folder;
  {
    EventFile file(folder / "events", 1700000000.5);
    file.add(1700000001.25, 300, kGolden);
  }
  EXPECT_EQ(read_file(folder / "events"), kGoldenVersion + kGoldenScalars);
}

TEST(EventFile, ReadsBackTheStepOfAnEvent) {
  EXPECT_EQ(event_step(std::string_view(kGoldenScalars).substr(12, 0x2c)), 300);
  EXPECT_EQ(event_step(std::string_view(kGoldenVersion).substr(12, 0x18)), 0);
  EXPECT_EQ(event_step(""), 0);
  EXPECT_EQ(event_step("\x10"), std::nullopt);  // a number that does not come
  EXPECT_EQ(event_step("\x1a\x7f"
                       "abc"),
            std::nullopt);                      // longer than the message
  EXPECT_EQ(event_step("\x13"), std::nullopt);  // a group: no event has one
  EXPECT_EQ(event_step(std::string(1, '\x10') + std::string(12, '\xff')), std::nullopt);
  const std::string big = scalars_record(0, std::numeric_limits<std::int64_t>::max(), {});
  EXPECT_EQ(event_step(std::string_view(big).substr(12, big.size() - 16)), std::numeric_limits<std::int64_t>::max());
}

TEST(EventFile, GoesOnBehindItsLastWholeRecordAfterAKill) {
  const TemporaryFolder folder;
  const auto path = folder / "events";
  const std::string whole = kGoldenVersion + kGoldenScalars;
  for (std::size_t cut = 0; cut <= kGoldenScalars.size(); ++cut) {  // killed at every byte of the second record
    write_file(path, whole.substr(0, kGoldenVersion.size() + cut));
    EventFile(path, 9).add(1700000001.25, 300, kGolden);
    const std::string expected = cut == kGoldenScalars.size() ? whole + kGoldenScalars : whole;
    ASSERT_EQ(read_file(path), expected) << cut;
  }
  for (const std::size_t cut : {std::size_t{1}, std::size_t{11}, std::size_t{30}}) {  // and of the first
    write_file(path, kGoldenVersion.substr(0, cut));
    EventFile file(path, 1700000000.5);
    EXPECT_EQ(read_file(path), kGoldenVersion) << cut;
  }
}

TEST(EventFile, CutsEventsOfLaterStepsAndKeepsTheOthersBytes) {
  const TemporaryFolder folder;
  const auto path = folder / "events";
  std::vector<std::string> records = {version_record(1)};
  for (std::int64_t step = 1; step <= 300; ++step) records.push_back(scalars_record(2, step, kGolden));
  std::string all, until_150;
  for (std::size_t i = 0; i < records.size(); ++i) {
    all += records[i];
    if (i <= 150) until_150 += records[i];
  }
  write_file(path, all);
  cut_events(path, 300);
  EXPECT_EQ(read_file(path), all);
  cut_events(path, 150);
  EXPECT_EQ(read_file(path), until_150);
  cut_events(path, 0);
  EXPECT_EQ(read_file(path), records[0]);
  cut_events(folder / "absent", 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "absent"));
}

TEST(EventFile, DropsWhatFollowsAChangedByte) {
  const TemporaryFolder folder;
  const auto path = folder / "events";
  for (const std::size_t at : {0u, 9u, 13u, 20u, 58u}) {
    std::string second = kGoldenScalars;
    second[at] = static_cast<char>(second[at] ^ 0x10);
    write_file(path, kGoldenVersion + second + kGoldenScalars);
    cut_events(path, 1000);
    EXPECT_EQ(read_file(path), kGoldenVersion) << "byte " << at;
  }
}

TEST(EventFile, RefusesAFileOfAnotherKind) {
  const TemporaryFolder folder;
  write_file(folder / "notes", "these are notes of someone, and not events");
  EXPECT_THROW(EventFile(folder / "notes", 0), Error);
  EXPECT_EQ(read_file(folder / "notes"), "these are notes of someone, and not events");
}

}  // namespace
}  // namespace lowbit::report
