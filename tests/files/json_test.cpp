#include "lowbit/files/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "expect_error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/rng.h"
#include "support/data.h"

namespace lowbit::files {
namespace {

using test::expect_error;

TEST(Json, SyntaxErrorsNameFileAndLine) {
  const test::TemporaryFolder folder;
  write_file(folder / "config.json", "{\n  \"a\": 1,\n  \"b\": oops\n}\n");
  expect_error(ErrorKind::input, {"config.json:3:", "not JSON"}, [&] { read_json(folder / "config.json"); });
  expect_error(ErrorKind::input, {"x:1:"}, [] { parse_json("", "x"); });
  expect_error(ErrorKind::input, {"x:2:"}, [] { parse_json("{\n", "x"); });
  expect_error(ErrorKind::input, {"x:1:"}, [] { parse_json("{} {}", "x"); });
  expect_error(ErrorKind::input, {"x:1:"}, [] { parse_json("{\"a\": \"\xff\"}", "x"); });
  expect_error(ErrorKind::input, {"x"}, [] { parse_json("{\"a\": 1e999}", "x"); });
}

TEST(Json, AKeyGivenTwiceIsRefusedAtAnyDepthButMayStandInTwoObjects) {
  expect_error(ErrorKind::input, {"\"a\" stands twice"}, [] { parse_json(R"({"a": 1, "a": 2})", "x"); });
  expect_error(ErrorKind::input, {"\"b\" stands twice"}, [] { parse_json(R"({"a": [{"b": {}, "b": 2}]})", "x"); });
  EXPECT_EQ(parse_json(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})", "x").size(), 2u);
}

TEST(Json, NestingHasALimit) {
  EXPECT_NO_THROW(parse_json(std::string(60, '[') + std::string(60, ']'), "x"));
  expect_error(ErrorKind::input, {"nested"}, [] { parse_json(std::string(100000, '['), "x"); });
  expect_error(ErrorKind::input, {"nested"}, [] { parse_json(std::string(100, '[') + std::string(100, ']'), "x"); });
}

TEST(Json, GettersCheckKindAndRange) {
  const Json json =
      parse_json(R"({"i": 7, "big": 3000000000, "neg": -1, "max": 18446744073709551615, "d": 2.5, "t": "hi",
                                   "b": true, "l": [1, 2], "n": null})",
                 "f");
  EXPECT_EQ(required<int>(json, "i", "f"), 7);
  EXPECT_EQ(required<double>(json, "i", "f"), 7.0);
  EXPECT_EQ(required<std::int64_t>(json, "big", "f"), 3000000000);
  EXPECT_EQ(required<std::uint64_t>(json, "max", "f"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(required<float>(json, "d", "f"), 2.5f);
  EXPECT_EQ(required<std::string>(json, "t", "f"), "hi");
  EXPECT_TRUE(required<bool>(json, "b", "f"));
  EXPECT_EQ(required<std::vector<int>>(json, "l", "f"), (std::vector<int>{1, 2}));
  EXPECT_EQ(optional<int>(json, "absent", 4, "f"), 4);
  EXPECT_EQ(optional<int>(json, "n", 5, "f"), 5);
  EXPECT_EQ(optional<int>(json, "i", 5, "f"), 7);
  expect_error(ErrorKind::input, {"f", "\"absent\" is missing"}, [&] { required<int>(json, "absent", "f"); });
  expect_error(ErrorKind::input, {"\"big\"", "3000000000", "range"}, [&] { required<int>(json, "big", "f"); });
  expect_error(ErrorKind::input, {"range"}, [&] { required<std::uint64_t>(json, "neg", "f"); });
  expect_error(ErrorKind::input, {"range"}, [&] { required<std::int64_t>(json, "max", "f"); });
  expect_error(ErrorKind::input, {"2.5", "whole number"}, [&] { required<int>(json, "d", "f"); });
  expect_error(ErrorKind::input, {"\"hi\"", "a number"}, [&] { required<double>(json, "t", "f"); });
  expect_error(ErrorKind::input, {"true or false"}, [&] { required<bool>(json, "i", "f"); });
  expect_error(ErrorKind::input, {"a text"}, [&] { required<std::string>(json, "i", "f"); });
  expect_error(ErrorKind::input, {"a list"}, [&] { required<std::vector<int>>(json, "i", "f"); });
  expect_error(ErrorKind::input, {"object"}, [&] { required<int>(Json::array(), "i", "f"); });
  expect_error(ErrorKind::input, {"range"}, [&] {
    required<std::int64_t>(Json{{"built", std::numeric_limits<std::uint64_t>::max()}}, "built", "f");
  });
}

TEST(Json, UnknownKeysAreNamedAllAtOnce) {
  const Json json = parse_json(R"({"width": 1, "widht": 2, "hieght": 3})", "f");
  expect_error(ErrorKind::input, {"f", "\"widht\", \"hieght\"", "width, height"}, [&] {
    refuse_unknown_keys(json, {"width", "height"}, "f");
  });
  EXPECT_NO_THROW(refuse_unknown_keys(json, {"width", "widht", "hieght"}, "f"));
}

TEST(Json, DumpedDoublesAndFloatsComeBackToTheBit) {
  const Rng rng(3);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const double d = std::bit_cast<double>(rng.bits(i));
    // Infinities and NaN have no JSON; denormals are flushed in the tests as in the programs.
    if (!(d - d == 0) || (rng.bits(i) >> 52 & 0x7FF) == 0) continue;
    const Json back = parse_json(dump_line(Json{{"v", d}}), "x");
    EXPECT_EQ(std::bit_cast<std::uint64_t>(required<double>(back, "v", "x")), rng.bits(i));
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(rng.bits(i)));
    if (!(f - f == 0) || (rng.bits(i) & 0x7F800000) == 0) continue;
    const Json back_float = parse_json(dump_line(Json{{"v", f}}), "x");
    EXPECT_EQ(std::bit_cast<std::uint32_t>(required<float>(back_float, "v", "x")),
              static_cast<std::uint32_t>(rng.bits(i)));
  }
}

TEST(Json, DumpsKeepTheOrderOfKeysOnOneLineAndNeverThrow) {
  EXPECT_EQ(dump_line(Json{{"z", 1}, {"a", "x\ny"}, {"n", 0.5}}), R"({"z":1,"a":"x\ny","n":0.5})");
  EXPECT_EQ(dump_line(Json{{"bad", "\xff"}}), "{\"bad\":\"\xEF\xBF\xBD\"}");
  EXPECT_EQ(dump_pretty(Json{{"z", 1}}), "{\n  \"z\": 1\n}\n");
}

}  // namespace
}  // namespace lowbit::files
