#include "lowbit/report/svg_plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "html_check.h"
#include "lowbit/base/rng.h"

namespace lowbit::report {
namespace {

using test::attribute_values;
using test::markup_error;
using test::numbers_in;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<std::string> labels(const Scale& scale) { return scale.labels; }
using Words = std::vector<std::string>;

TEST(Ticks, FallOnRoundNumbers) {
  EXPECT_EQ(labels(linear_scale(0, 200, 5)), (Words{"0", "50", "100", "150", "200"}));
  EXPECT_EQ(labels(linear_scale(0, 1, 4)), (Words{"0", "0.25", "0.50", "0.75", "1.00"}));
  EXPECT_EQ(labels(linear_scale(-1, 1, 4)), (Words{"−1.0", "−0.5", "0", "0.5", "1.0"}));
  EXPECT_EQ(labels(linear_scale(0, 40000, 4)), (Words{"0", "10k", "20k", "30k", "40k"}));
  EXPECT_EQ(labels(linear_scale(0, 0.00004, 4)), (Words{"0", "1e-5", "2e-5", "3e-5", "4e-5"}));
  EXPECT_EQ(labels(linear_scale(0, 0.5, 5, TickText::percent)), (Words{"0 %", "10 %", "20 %", "30 %", "40 %", "50 %"}));
  EXPECT_EQ(labels(log_scale(0.01, 100, 5)), (Words{"0.01", "0.1", "1", "10", "100"}));
  EXPECT_EQ(labels(log_scale(1, 10, 4)), (Words{"1", "2", "5", "10"}));
}

TEST(Ticks, AscendWithinTheScaleForAnyRange) {
  const Rng rng(5);
  std::vector<std::pair<double, double>> ranges = {
      {0, 0},          {5, 5},           {-3, -3},     {1e300, 1e308},
      {-1e308, 1e308}, {1, 1 + 1e-15},   {kNan, kNan}, {-kInfinity, kInfinity},
      {7, 2},          {1e-300, 2e-300}, {1e-40, 1e40}};
  for (std::uint64_t i = 0; i < 400; ++i) {
    const double low = rng.normal(3 * i) * std::pow(10, 12 * rng.normal(3 * i + 1));
    ranges.push_back({low, low + std::abs(rng.normal(3 * i + 2)) * std::pow(10, 12 * rng.normal(4000 + i))});
  }
  for (const auto& [low, high] : ranges) {
    for (const bool log : {false, true}) {
      for (const int wanted : {2, 5, 12}) {
        const Scale scale = log ? log_scale(low, high, wanted) : linear_scale(low, high, wanted);
        SCOPED_TRACE(testing::Message() << low << " to " << high << (log ? " log" : "") << ", " << wanted << " wanted");
        ASSERT_LT(scale.low, scale.high);
        ASSERT_GE(scale.ticks.size(), 2u);
        ASSERT_LE(scale.ticks.size(), 3u * static_cast<unsigned>(wanted) + 3);
        ASSERT_EQ(scale.ticks.size(), scale.labels.size());
        ASSERT_TRUE(std::is_sorted(scale.ticks.begin(), scale.ticks.end()));
        ASSERT_GE(scale.ticks.front(), scale.low);
        ASSERT_LE(scale.ticks.back(), scale.high);
        for (const double tick : scale.ticks) {
          ASSERT_GE(scale.position(tick), -1e-9);
          ASSERT_LE(scale.position(tick), 1 + 1e-9);
        }
      }
    }
  }
}

TEST(Scale, PlacesValuesLinearlyAndByLogarithm) {
  const Scale linear = linear_scale(0, 10, 5), log = log_scale(1, 10000, 5);
  EXPECT_DOUBLE_EQ(linear.position(2.5), 0.25);
  EXPECT_NEAR(log.position(100), 0.5, 1e-12);
  EXPECT_TRUE(std::isnan(linear.position(kNan)));
  EXPECT_TRUE(std::isnan(linear.position(kInfinity)));
  EXPECT_TRUE(std::isnan(log.position(0)));
  EXPECT_TRUE(std::isnan(log.position(-3)));
}

LinePlot plot_of(std::vector<double> x, std::vector<double> y) {
  LinePlot plot;
  plot.title = "A plot";
  plot.x.label = "step";
  plot.series = {{"first", std::move(x), std::move(y), {}, {}, Series::Style::line, 0}};
  return plot;
}

std::string line_of(const std::string& svg, std::size_t series = 0) {
  std::vector<std::string> found;
  for (std::size_t at = svg.find("<g class=\"s "); at != std::string::npos; at = svg.find("<g class=\"s ", at + 1)) {
    const std::size_t d = svg.find("<path class=\"line\" d=\"", at) + 22;
    found.push_back(svg.substr(d, svg.find('"', d) - d));
  }
  return series < found.size() ? found[series] : "";
}

// All that is drawn, text anchors too, lies in the view box.
void expect_inside(const std::string& drawing) {
  const auto box = numbers_in(attribute_values(drawing, "svg", "viewBox").at(0));
  const double width = box.at(2), height = box.at(3);
  for (const auto& [element, attribute, limit] :
       std::vector<std::tuple<const char*, const char*, double>>{{"text", "x", width},
                                                                 {"text", "y", height},
                                                                 {"circle", "cx", width},
                                                                 {"circle", "cy", height},
                                                                 {"rect", "x", width},
                                                                 {"rect", "y", height}}) {
    for (const std::string& value : attribute_values(drawing, element, attribute)) {
      EXPECT_GE(std::stod(value), 0) << element << " " << attribute;
      EXPECT_LE(std::stod(value), limit) << element << " " << attribute;
    }
  }
  const std::string line = line_of(drawing);
  const auto numbers = numbers_in(line);
  for (std::size_t i = 0; i + 1 < numbers.size(); i += 2) {
    ASSERT_GE(numbers[i], 0);
    ASSERT_LE(numbers[i], width);
    ASSERT_GE(numbers[i + 1], 0);
    ASSERT_LE(numbers[i + 1], height);
  }
}

TEST(LinePlot, DrawsALineFromCornerToCornerOfItsFrame) {
  const std::string drawing = svg(plot_of({0, 100}, {0, 1}));
  EXPECT_EQ(markup_error(drawing), "");
  const auto frame = numbers_in(attribute_values(drawing, "svg", "data-frame").at(0));
  const auto line = numbers_in(line_of(drawing));
  ASSERT_EQ(frame.size(), 4u);  // left, right, top, bottom
  EXPECT_EQ(line, (std::vector<double>{frame[0], frame[3], frame[1], frame[2]}));
}

TEST(LinePlot, KeepsEveryCoordinateInsideTheDrawingForOddData) {
  const std::vector<std::vector<double>> odd = {{},
                                                {1},
                                                {kNan},
                                                {5, 5, 5},
                                                {1e308, -1e308, 3},
                                                {kInfinity, 1, -kInfinity, 2},
                                                {0, -1, 1e-12, 1e12},
                                                {1e-310, 1e-320, 0}};
  for (const auto& y : odd) {
    for (const bool log : {false, true}) {
      for (const int width : {1, 200, 380, 1020}) {
        std::vector<double> x(y.size());
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
        LinePlot plot = plot_of(x, y);
        plot.y.log = log;
        plot.width = width;
        plot.marks = {{1, "an event with quite a long name"}, {1e9, "outside"}, {kNan, "nowhere"}};
        const std::string drawing = svg(plot);
        EXPECT_EQ(markup_error(drawing), "");
        expect_inside(drawing);
        EXPECT_EQ(drawing.find("nan"), std::string::npos);
        EXPECT_EQ(drawing.find("inf"), std::string::npos);
      }
    }
  }
}

TEST(LinePlot, LeavesAGapWhereAValueIsNotANumber) {
  const std::string line = line_of(svg(plot_of({1, 2, 3, 4, 5}, {1, 2, kNan, 2, 1})));
  EXPECT_EQ(std::count(line.begin(), line.end(), 'M'), 2);
  EXPECT_EQ(std::count(line.begin(), line.end(), 'L'), 2);
}

TEST(LinePlot, ThinsManyPointsButKeepsTheirPeaks) {
  std::vector<double> x(200000), y(200000, 1.0);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
  for (std::size_t i = 1000; i < y.size(); i += 10007) y[i] = i % 2 ? 9 : -4;  // 20 peaks, up and down
  const std::string drawing = svg(plot_of(x, y));
  const auto numbers = numbers_in(line_of(drawing));
  EXPECT_LE(numbers.size(), 2u * 4 * 430);
  const auto frame = numbers_in(attribute_values(drawing, "svg", "data-frame").at(0));
  const auto axis = numbers_in(attribute_values(drawing, "svg", "data-y").at(0));
  const auto value_at = [&](double py) {
    return axis[0] + (axis[1] - axis[0]) * (frame[3] - py) / (frame[3] - frame[2]);
  };
  int up = 0, down = 0;
  for (std::size_t i = 1; i < numbers.size(); i += 2) {
    up += std::abs(value_at(numbers[i]) - 9) < 0.1;
    down += std::abs(value_at(numbers[i]) + 4) < 0.1;
  }
  EXPECT_EQ(up, 10);
  EXPECT_EQ(down, 10);
}

TEST(LinePlot, NamesSeveralSeriesInALegendAndOneOnlyByItsAxis) {
  LinePlot plot = plot_of({1, 2}, {1, 2});
  EXPECT_EQ(svg(plot).find("class=\"key"), std::string::npos);
  plot.series.push_back({"second <b>", {1, 2}, {3, 1}, {2, 0}, {4, 2}, Series::Style::points, 9});
  const std::string drawing = svg(plot);
  EXPECT_NE(drawing.find(">first</text>"), std::string::npos);
  EXPECT_NE(drawing.find(">second &lt;b&gt;</text>"), std::string::npos);
  EXPECT_NE(drawing.find("class=\"range\""), std::string::npos);
  EXPECT_EQ(markup_error(drawing), "");
}

TEST(LinePlot, IsACompleteFileOfItsOwnWithItsTitle) {
  LinePlot plot = plot_of({1, 2}, {1, 2});
  plot.title = "Loss > 3 & \"more\"";
  const std::string file = svg_file(plot);
  EXPECT_EQ(markup_error(file), "");
  EXPECT_TRUE(file.starts_with("<?xml"));
  EXPECT_NE(file.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_NE(file.find(">Loss &gt; 3 &amp; &quot;more&quot;</text>"), std::string::npos);
}

TEST(BarPlot, DrawsBarsInProportionAndNoneForWhatIsNoSize) {
  BarPlot plot;
  plot.title = "Sizes";
  plot.width = 400;
  plot.bars = {{"large", 200, "", 0}, {"half", 100, "100 B", 1}, {"nan", kNan, "", 2}, {"negative", -5, "", 3}};
  const std::string drawing = svg(plot);
  EXPECT_EQ(markup_error(drawing), "");
  expect_inside(drawing);
  std::vector<double> bars;
  for (std::size_t at = drawing.find("<rect class=\"bar "); at != std::string::npos;
       at = drawing.find("<rect class=\"bar ", at + 1))
    bars.push_back(std::stod(drawing.substr(drawing.find("width=\"", at) + 7)));
  EXPECT_EQ(bars, (std::vector<double>{400, 200}));
  EXPECT_EQ(markup_error(svg(BarPlot{})), "");
}

TEST(LinePlot, DotsAreNotJoined) {
  LinePlot plot;
  plot.series = {{"dots", {1, 2, 3}, {1, 3, 2}, {}, {}, Series::Style::dots, 0}, {"line", {1, 2, 3}, {2, 1, 3}}};
  const std::string drawn = svg(plot);
  EXPECT_EQ(markup_error(drawn), "");
  EXPECT_EQ(attribute_values(drawn, "circle", "cx").size(), 4u);  // three values and the legend's
  std::size_t joined = 0;
  for (const std::string& d : attribute_values(drawn, "path", "d")) joined += d.find('L') != std::string::npos;
  EXPECT_EQ(joined, 1u);
}

TEST(LinePlot, AnAxisOfCountsHasNoTicksBetweenThem) {
  LinePlot plot;
  plot.series = {{"a", {0, 1}, {7, 8}}};
  plot.y.low = 7, plot.y.high = 8;
  EXPECT_NE(svg(plot).find(">0.50<"), std::string::npos);
  plot.x.whole = true;
  EXPECT_EQ(svg(plot).find(">0.50<"), std::string::npos);
  EXPECT_NE(svg(plot).find(">1<"), std::string::npos);
}

}  // namespace
}  // namespace lowbit::report
