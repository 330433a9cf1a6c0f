#include <gtest/gtest.h>

#include "files/expect_error.h"
#include "laws/made_up.h"
#include "lowbit/laws/fit.h"

// What a fit refuses, each with what is missing.
namespace lowbit::laws {
namespace {

using test::expect_error, test::made_up, test::usual_constants;

Points usual() {
  return made_up(Law::efficiency, usual_constants(), test::kUsualFormats, test::kUsualSizes, test::kUsualRatios);
}

void refuse(ErrorKind kind, Points points, FitOptions options, std::initializer_list<std::string_view> parts) {
  options.bootstrap = 0;
  expect_error(kind, parts, [&] { fit(std::move(points), options); });
}

TEST(FitInput, TooFewRunsSayHowManyAreMissing) {
  refuse(ErrorKind::input, made_up(Law::efficiency, usual_constants(), {"bf16", "w4a4"}, {3e7, 1e8}, {10}), {},
         {"4 runs", "6 constants", "add 2", "--hold"});
}

TEST(FitInput, OneSizeIsNamed) {
  refuse(ErrorKind::input, made_up(Law::efficiency, usual_constants(), test::kUsualFormats, {3e7}, {10, 20, 40}), {},
         {"N = 3e+07", "two sizes"});
}

TEST(FitInput, WithoutFullPrecisionABaseIsAskedFor) {
  Points points = usual();
  points.formats[0] = "w8a8";
  refuse(ErrorKind::input, points, {}, {"bf16", "--base", "w8a8, w4a4"});
  FitOptions options;
  options.base = "W8A8";
  options.bootstrap = 0;
  EXPECT_EQ(fit(points, options).c.of_format[0], 1);
}

TEST(FitInput, WrongFlagsAreNamed) {
  FitOptions options;
  options.base = "w5a5";
  refuse(ErrorKind::usage, usual(), options, {"--base w5a5", "bf16, w4a4"});
  const auto hold = [&](const char* name, double value, std::initializer_list<std::string_view> parts) {
    FitOptions o;
    o.hold[name] = value;
    refuse(ErrorKind::usage, usual(), o, parts);
  };
  hold("gamma", 1, {"--hold gamma", "alpha"});
  hold("g", 1, {"--hold g"});
  hold("alpha", -1, {"--hold alpha=-1", "positive"});
  hold("eff.w7a7", 1, {"w7a7", "w4a4"});
  hold("k.w4a4", 1, {"'k'"});
  options = {};
  options.questions = {{1e8, 1e9, "w7a7"}};
  refuse(ErrorKind::usage, usual(), options, {"--predict", "w7a7"});
  options = {};
  options.fit_below = 1e6;
  refuse(ErrorKind::input, usual(), options, {"--fit-below"});
}

TEST(FitInput, ABitsLawNeedsNamesThatTellBits) {
  Points points = usual();
  points.formats[2] = "best";
  FitOptions options;
  options.law = Law::bits;
  refuse(ErrorKind::input, points, options, {"'best'", "--law efficiency"});
}

TEST(FitInput, AnUnknownLawListsThem) {
  expect_error(ErrorKind::usage, {"--law 'cubic'", "efficiency, additive"}, [] { parse_law("cubic"); });
}

}  // namespace
}  // namespace lowbit::laws
