#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lowbit/report/ticks.h"

namespace lowbit::report {

/// How many colours a series may ask for; others wrap round.
inline constexpr int kPlotColours = 8;

/// One line of a plot. x and y have one length; x ascends. A y (or x) that is not finite, or on a log axis not
/// positive, is a gap. low and high (empty, or as long as y) draw an interval at each point.
struct Series {
  enum class Style {
    line,
    faint,   ///< thin and pale: raw values behind a smoothed line; no entry in the legend
    points,  ///< a line with a dot at each value, and its interval
    dots,    ///< a dot at each value, and its interval, without a line
  };
  std::string name;
  std::vector<double> x, y, low, high;
  Style style = Style::line;
  int colour = 0;
};

struct Axis {
  std::string label;  ///< e.g. "learning rate"
  std::string unit;   ///< e.g. "nats per token"; may be empty
  bool log = false;
  TickText text = TickText::plain;
  bool whole = false;  ///< counts: no ticks between whole numbers
  std::optional<double> low, high;  ///< ends of the range; otherwise from the data
};

/// A vertical line with a word: an event on the x axis.
struct Mark {
  double x = 0;
  std::string label;
};

/// Lines over an x axis. Sizes are in CSS pixels; the drawing scales with its container.
struct LinePlot {
  std::string title;  ///< read out by screen readers, and drawn by svg_file
  Axis x, y;
  std::vector<Series> series;
  std::vector<Mark> marks;
  int width = 400, height = 256;
};

struct Bar {
  std::string label;
  double value = 0;
  std::string text;  ///< written at the bar's end; empty: the value
  int colour = 0;
};

/// Horizontal bars from zero, one below the other, with their labels above them, so that long labels fit a phone.
struct BarPlot {
  std::string title;
  std::vector<Bar> bars;  ///< a value that is not finite or below zero is drawn as no bar
  int width = 480;
};

/// An <svg> element for a page that has plot_css() in its style sheet. Every drawn coordinate lies within the view
/// box; more values than pixels are thinned to the first, least, greatest and last of each pixel column. Never throws
/// for odd data: with nothing to draw it says "no data yet".
std::string svg(const LinePlot& plot);
std::string svg(const BarPlot& plot);

/// The same as a file of its own, with style sheet and title inside.
std::string svg_file(const LinePlot& plot);
std::string svg_file(const BarPlot& plot);

/// Colours for light and dark pages as CSS variables, and the classes that plots use. A page may set --paper, --ink,
/// --soft and --grid itself.
std::string plot_css();

}  // namespace lowbit::report
