#include "lowbit/report/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lowbit/report/text.h"

namespace lowbit::report {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kTextSize = 12;

// Widths of text are not known without the font; this is a little more than the usual sans serif takes.
double text_width(std::string_view text) {
  const auto starts = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return 0.56 * kTextSize * static_cast<double>(starts);
}

struct Point {
  double x, y;
};

struct Frame {  // the plot area inside the drawing
  double left, right, top, bottom;
  Scale x, y;

  // Pixels; NaN where there is nothing to draw. Values beyond the axis stop at its ends.
  Point at(double vx, double vy) const {
    const double px = x.position(vx), py = y.position(vy);
    if (!std::isfinite(px) || !std::isfinite(py)) return {kNan, kNan};
    return {left + std::clamp(px, 0.0, 1.0) * (right - left), bottom - std::clamp(py, 0.0, 1.0) * (bottom - top)};
  }
};

bool drawable(double value, const Axis& axis) { return std::isfinite(value) && !(axis.log && value <= 0); }

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

// The values of both axes, of the points that can be drawn.
std::pair<Range, Range> ranges(const LinePlot& plot) {
  Range x, y;
  for (const Series& s : plot.series) {
    for (std::size_t i = 0; i < std::min(s.x.size(), s.y.size()); ++i) {
      if (!drawable(s.x[i], plot.x) || !drawable(s.y[i], plot.y)) continue;
      x.add(s.x[i]);
      y.add(s.y[i]);
      if (i < s.low.size() && drawable(s.low[i], plot.y)) y.add(s.low[i]);
      if (i < s.high.size() && drawable(s.high[i], plot.y)) y.add(s.high[i]);
    }
  }
  return {x, y};
}

Scale make_scale(const Axis& axis, Range range, int wanted, bool grow) {
  if (range.empty()) range = axis.log ? Range{1, 10} : Range{0, 1};
  const double low = axis.low.value_or(range.low), high = axis.high.value_or(range.high);
  Scale scale = axis.log ? log_scale(low, high, wanted, axis.text)
                         : linear_scale(low, high, wanted, axis.text, grow && !(axis.low && axis.high));
  if (axis.whole) {
    std::erase_if(scale.ticks, [](double tick) { return tick != std::floor(tick); });
    scale.labels = tick_labels(scale.ticks, axis.text);
  }
  return scale;
}

// Path commands of one series, thinned by pixel column, with a fresh start behind each gap.
std::string path_of(const Series& s, const Frame& frame, std::vector<Point>* drawn) {
  std::string d;
  bool open = false;
  std::vector<Point> column;
  const auto put = [&](Point p) {
    d += fmt::format("{}{} {}", open && s.style != Series::Style::dots ? "L" : "M", coordinate(p.x), coordinate(p.y));
    open = true;
    if (drawn) drawn->push_back(p);
  };
  const auto flush = [&] {
    if (column.size() <= 4) {
      for (const Point p : column) put(p);
    } else {
      const auto [least, greatest] =
          std::minmax_element(column.begin(), column.end(), [](const Point& a, const Point& b) { return a.y < b.y; });
      const std::size_t last = column.size() - 1;
      std::vector<std::size_t> kept = {0, static_cast<std::size_t>(least - column.begin()),
                                       static_cast<std::size_t>(greatest - column.begin()), last};
      std::sort(kept.begin(), kept.end());
      kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
      for (const std::size_t i : kept) put(column[i]);
    }
    column.clear();
  };
  for (std::size_t i = 0; i < std::min(s.x.size(), s.y.size()); ++i) {
    const Point p = frame.at(s.x[i], s.y[i]);
    if (std::isnan(p.x)) {
      flush();
      open = false;
      continue;
    }
    if (!column.empty() && std::floor(p.x) != std::floor(column.front().x)) flush();
    column.push_back(p);
  }
  flush();
  return d;
}

std::string draw_series(const Series& s, const Frame& frame) {
  const int colour = ((s.colour % kPlotColours) + kPlotColours) % kPlotColours;
  std::vector<Point> drawn;
  const std::string d = path_of(s, frame, &drawn);
  if (d.empty()) return "";
  std::string out = fmt::format("<g class=\"s s{}{}\" data-name=\"{}\">", colour,
                                s.style == Series::Style::faint ? " faint" : "", escape(s.name));
  if (s.low.size() == s.y.size() && s.high.size() == s.y.size() && !s.y.empty()) {
    std::string bars;
    double free_from = 0;  // where bars would run into one another, some are left out
    for (std::size_t i = 0; i < s.y.size(); ++i) {
      const Point low = frame.at(s.x[i], s.low[i]), high = frame.at(s.x[i], s.high[i]);
      if (std::isnan(low.x) || std::isnan(high.x) || low.x < free_from) continue;
      free_from = low.x + 5;
      bars += fmt::format("M{0} {1}V{2}", coordinate(low.x), coordinate(low.y), coordinate(high.y));
    }
    if (!bars.empty()) out += fmt::format("<path class=\"range\" d=\"{}\"/>", bars);
  }
  out += fmt::format("<path class=\"line\" d=\"{}\"/>", d);
  const bool dots = s.style == Series::Style::dots;
  if (dots || (s.style == Series::Style::points && drawn.size() <= 80)) {
    for (const Point p : drawn)
      out += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"3\"/>", coordinate(p.x), coordinate(p.y));
  } else if (drawn.size() == 1) {
    out += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"2.5\"/>", coordinate(drawn[0].x), coordinate(drawn[0].y));
  }
  return out + "</g>";
}

struct LegendEntry {
  double x, y;
  const Series* series;
};

// Entries laid out in rows of the given width; returns the rows' height.
double lay_out_legend(const LinePlot& plot, double left, double right, double top, std::vector<LegendEntry>* entries) {
  double x = left, y = top;
  for (const Series& s : plot.series) {
    if (s.style == Series::Style::faint || s.name.empty()) continue;
    const double width = 24 + text_width(s.name) + 14;
    if (x > left && x + width - 14 > right) {
      x = left;
      y += 18;
    }
    entries->push_back({x, y, &s});
    x += width;
  }
  if (entries->size() < 2) {  // one line needs no legend: the axis names it
    entries->clear();
    return 0;
  }
  return y - top + 24;
}

std::string open_svg(int width, double height, const std::string& title, const std::string& extra) {
  return fmt::format(
      "<svg class=\"plot\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" aria-label=\"{2}\"{3} "
      "xmlns=\"http://www.w3.org/2000/svg\">",
      width, coordinate(height), escape(title), extra);
}

// The ends of an axis, whether it is a log axis, whether it holds shares: what the page's script needs.
std::string axis_data(const Scale& scale, const Axis& axis) {
  return fmt::format("{:.9g} {:.9g} {:d} {:d}", scale.low, scale.high, scale.log, axis.text == TickText::percent);
}

std::string draw_title(const std::string& title) {
  return fmt::format("<text class=\"title\" x=\"8\" y=\"19\">{}</text>", escape(title));
}

std::string line_plot(const LinePlot& plot, bool with_title) {
  const int width = std::max(200, plot.width), height = std::max(140, plot.height);
  const auto [range_x, range_y] = ranges(plot);
  Frame frame{};
  frame.x = make_scale(plot.x, range_x, std::max(3, width / 85), false);
  frame.y = make_scale(plot.y, range_y, std::clamp((height - 60) / 36, 3, 8), true);
  double gutter = 0;
  for (const std::string& label : frame.y.labels) gutter = std::max(gutter, text_width(label));
  frame.left = std::clamp(gutter + 14, 28.0, 0.4 * width);
  frame.right = width - 14.0;

  std::vector<LegendEntry> legend;
  const double caption = with_title ? 28 : 4;
  const double legend_height = lay_out_legend(plot, 8, width - 4.0, caption + 12, &legend);
  const std::string y_name = plot.y.label + (plot.y.unit.empty()    ? ""
                                             : plot.y.label.empty() ? plot.y.unit
                                                                    : ", " + plot.y.unit);
  const double name_height = y_name.empty() ? 4 : 20;
  frame.top = std::min(caption + legend_height + name_height + 6, 0.6 * height);
  const std::string x_name = plot.x.label + (plot.x.unit.empty() ? "" : ", " + plot.x.unit);
  frame.bottom = height - (x_name.empty() ? 24.0 : 42.0);

  std::string out =
      open_svg(width, height, plot.title,
               fmt::format(" data-label=\"{}\" data-frame=\"{} {} {} {}\" data-x=\"{}\" data-y=\"{}\"",
                           escape(plot.x.label), coordinate(frame.left), coordinate(frame.right), coordinate(frame.top),
                           coordinate(frame.bottom), axis_data(frame.x, plot.x), axis_data(frame.y, plot.y)));
  if (with_title) out += draw_title(plot.title);
  for (const LegendEntry& e : legend)
    out += fmt::format(
        "<g class=\"key s{}\">{}<text x=\"{}\" y=\"{}\">{}</text></g>",
        ((e.series->colour % kPlotColours) + kPlotColours) % kPlotColours,
        e.series->style == Series::Style::dots
            ? fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"3.5\"/>", coordinate(e.x + 9), coordinate(e.y - 4))
            : fmt::format("<path class=\"line\" d=\"M{} {}h16\"/>", coordinate(e.x), coordinate(e.y - 4)),
        coordinate(e.x + 22), coordinate(e.y), escape(e.series->name));
  if (!y_name.empty())
    out += fmt::format("<text class=\"name\" x=\"8\" y=\"{}\">{}</text>", coordinate(caption + legend_height + 12),
                       escape(y_name));

  const bool empty = range_y.empty();
  std::string grid, labels;
  for (std::size_t i = 0; i < frame.y.ticks.size() && !empty; ++i) {
    const double y = frame.bottom - frame.y.position(frame.y.ticks[i]) * (frame.bottom - frame.top);
    grid += fmt::format("M{} {}H{}", coordinate(frame.left), coordinate(y), coordinate(frame.right));
    labels += fmt::format("<text class=\"tick end\" x=\"{}\" y=\"{}\">{}</text>", coordinate(frame.left - 7),
                          coordinate(y + 4), escape(frame.y.labels[i]));
  }
  double free_from = 0;  // labels of the x axis that would touch are left out
  std::string ticks;
  for (std::size_t i = 0; i < frame.x.ticks.size() && !empty; ++i) {
    const double x = frame.left + frame.x.position(frame.x.ticks[i]) * (frame.right - frame.left);
    ticks += fmt::format("M{} {}v4", coordinate(x), coordinate(frame.bottom));
    const double half = text_width(frame.x.labels[i]) / 2;
    const double centre = std::clamp(x, half, width - half);
    if (centre - half < free_from) continue;
    free_from = centre + half + 6;
    labels += fmt::format("<text class=\"tick mid\" x=\"{}\" y=\"{}\">{}</text>", coordinate(centre),
                          coordinate(frame.bottom + 18), escape(frame.x.labels[i]));
  }
  out += fmt::format("<path class=\"grid\" d=\"{}\"/><path class=\"axis\" d=\"M{} {}H{}{}\"/>{}", grid,
                     coordinate(frame.left), coordinate(frame.bottom), coordinate(frame.right), ticks, labels);
  if (!x_name.empty())
    out += fmt::format("<text class=\"name end\" x=\"{}\" y=\"{}\">{}</text>", coordinate(frame.right),
                       coordinate(height - 6.0), escape(x_name));
  if (empty) {
    out += fmt::format("<text class=\"empty mid\" x=\"{}\" y=\"{}\">no data yet</text>", coordinate(width / 2.0),
                       coordinate((frame.top + frame.bottom) / 2));
  }
  for (const Mark& mark : plot.marks) {
    const double p = frame.x.position(mark.x);
    if (!(p >= 0 && p <= 1) || empty) continue;
    const double x = frame.left + p * (frame.right - frame.left);
    const bool leftward = x + text_width(mark.label) + 6 > frame.right;
    out +=
        fmt::format("<path class=\"mark\" d=\"M{0} {1}V{2}\"/><text class=\"marked{3}\" x=\"{4}\" y=\"{5}\">{6}</text>",
                    coordinate(x), coordinate(frame.top), coordinate(frame.bottom), leftward ? " end" : "",
                    coordinate(leftward ? x - 5 : x + 5), coordinate(frame.top + 10), escape(mark.label));
  }
  for (const Series& s : plot.series) out += draw_series(s, frame);
  return out + "</svg>";
}

std::string bar_plot(const BarPlot& plot, bool with_title) {
  constexpr double row = 40;
  const int width = std::max(160, plot.width);
  const double top = with_title ? 30 : 2;
  const double height = top + (plot.bars.empty() ? 40 : row * static_cast<double>(plot.bars.size()));
  double largest = 0;
  for (const Bar& bar : plot.bars)
    if (std::isfinite(bar.value)) largest = std::max(largest, bar.value);
  std::string out = open_svg(width, height, plot.title, "");
  if (with_title) out += draw_title(plot.title);
  if (plot.bars.empty())
    out += fmt::format("<text class=\"empty mid\" x=\"{}\" y=\"{}\">no data yet</text>", coordinate(width / 2.0),
                       coordinate(top + 22));
  double y = top;
  for (const Bar& bar : plot.bars) {
    const double share = largest > 0 && std::isfinite(bar.value) ? std::clamp(bar.value / largest, 0.0, 1.0) : 0;
    out += fmt::format(
        "<text class=\"bar-label\" x=\"0\" y=\"{0}\">{1}</text><text class=\"bar-text end\" x=\"{2}\" "
        "y=\"{0}\">{3}</text>",
        coordinate(y + 14), escape(bar.label), width, escape(bar.text.empty() ? number(bar.value) : bar.text));
    out += fmt::format("<rect class=\"trough\" x=\"0\" y=\"{0}\" width=\"{1}\" height=\"8\" rx=\"4\"/>",
                       coordinate(y + 21), width);
    if (share > 0)
      out += fmt::format("<rect class=\"bar s{}\" x=\"0\" y=\"{}\" width=\"{}\" height=\"8\" rx=\"{}\"/>",
                         ((bar.colour % kPlotColours) + kPlotColours) % kPlotColours, coordinate(y + 21),
                         coordinate(std::max(2.0, share * width)), share * width < 8 ? 1 : 4);
    y += row;
  }
  return out + "</svg>";
}

std::string as_file(std::string element) {
  const std::size_t after = element.find('>') + 1;  // attributes hold no raw '>': they are escaped
  element.insert(after, "<style>svg{background:var(--paper)}" + plot_css() + "</style>");
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + element + "\n";
}

}  // namespace

std::string svg(const LinePlot& plot) { return line_plot(plot, false); }
std::string svg(const BarPlot& plot) { return bar_plot(plot, false); }
std::string svg_file(const LinePlot& plot) { return as_file(line_plot(plot, true)); }
std::string svg_file(const BarPlot& plot) { return as_file(bar_plot(plot, true)); }

std::string plot_css() {
  // Eight hues that stay apart for the colour-blind in their order of use, darker on paper, lighter on a dark page.
  static constexpr const char* light[kPlotColours] = {"#2563a8", "#d1541f", "#1c8a74", "#8656a8",
                                                      "#b08400", "#c2417c", "#5b7083", "#6d8b1f"};
  static constexpr const char* dark[kPlotColours] = {"#6aa9ee", "#ff8f5a", "#4fc4aa", "#bd93dd",
                                                     "#e0b53c", "#f07fb0", "#9db2c4", "#aec95a"};
  std::string css = ":root{--paper:#faf9f6;--ink:#1b1d22;--soft:#646b76;--grid:#e9e6df;";
  std::string night =
      "@media(prefers-color-scheme:dark){:root{--paper:#131519;--ink:#e9e7e2;--soft:#9aa2ae;--grid:#2a2e36;";
  for (int i = 0; i < kPlotColours; ++i) {
    css += fmt::format("--s{}:{};", i, light[i]);
    night += fmt::format("--s{}:{};", i, dark[i]);
  }
  css += "}" + night + "}}";
  for (int i = 0; i < kPlotColours; ++i) css += fmt::format(".s{0}{{--c:var(--s{0})}}", i);
  css += R"(
.plot{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,
"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;overflow:visible}
.plot text{fill:var(--soft)}
.plot .title{font-size:15px;font-weight:600;fill:var(--ink)}
.plot .key text,.plot .bar-label{fill:var(--ink)}
.plot .bar-label,.plot .bar-text{font-size:13px}
.plot .end{text-anchor:end}
.plot .mid{text-anchor:middle}
.plot path{fill:none}
.plot .grid{stroke:var(--grid)}
.plot .axis{stroke:var(--soft);stroke-opacity:.55}
.plot .line{stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.plot .faint .line{stroke-width:1;stroke-opacity:.38}
.plot .range{stroke:var(--c);stroke-width:1.5;stroke-opacity:.5}
.plot circle{fill:var(--c);stroke:var(--paper);stroke-width:1.5}
.plot .mark{stroke:var(--soft);stroke-dasharray:3 3}
.plot .marked{font-size:11px}
.plot .trough{fill:var(--grid)}
.plot .bar{fill:var(--c)}
)";
  return css;
}

}  // namespace lowbit::report
