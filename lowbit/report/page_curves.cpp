#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lowbit/base/progress.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"

namespace lowbit::report {
namespace {

std::vector<double> steps_of(const RunRecords& records) {
  std::vector<double> x;
  x.reserve(records.steps.size());
  for (const StepRecord& s : records.steps) x.push_back(static_cast<double>(s.step));
  return x;
}

std::vector<double> column(const RunRecords& records, double StepRecord::*member) {
  std::vector<double> y;
  y.reserve(records.steps.size());
  for (const StepRecord& s : records.steps) y.push_back(s.*member);
  return y;
}

bool any_finite(const std::vector<double>& values) {
  return std::any_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

// A plot over the whole planned run, so that one in progress shows how far it is.
LinePlot over_steps(std::string title) {
  LinePlot plot;
  plot.title = std::move(title);
  plot.x.label = "step";
  plot.x.low = 0;
  return plot;
}

std::vector<Mark> marks_of(const RunRecords& records) {
  std::vector<Mark> marks;
  for (const EventRecord& e : records.events)
    if (e.what != "finished" && marks.size() < 12) marks.push_back({static_cast<double>(e.step), e.what});
  return marks;
}

// Values that span several powers of ten read best on a log axis.
bool wants_log(const std::vector<double>& values) {
  double low = INFINITY, high = 0;
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    if (v <= 0) return false;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  return high > 60 * low;
}

}  // namespace

std::vector<double> smoothed(const std::vector<double>& values) {
  const auto n = static_cast<std::ptrdiff_t>(values.size());
  std::vector<double> sums(values.size() + 1, 0), counts(values.size() + 1, 0), out(values.size(), kUnknown);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool finite = std::isfinite(values[i]);
    sums[i + 1] = sums[i] + (finite ? values[i] : 0);
    counts[i + 1] = counts[i] + (finite ? 1 : 0);
  }
  const std::ptrdiff_t half = std::max<std::ptrdiff_t>(2, n / 60);
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    if (!std::isfinite(values[static_cast<std::size_t>(i)])) continue;
    const std::ptrdiff_t back = std::min(i, half), forth = std::min({n - 1 - i, half, std::max(i, std::ptrdiff_t{1})});
    const auto from = static_cast<std::size_t>(i - back), to = static_cast<std::size_t>(i + forth + 1);
    out[static_cast<std::size_t>(i)] = (sums[to] - sums[from]) / (counts[to] - counts[from]);
  }
  return out;
}

std::string loss_section(const RunRecords& records) {
  LinePlot plot = over_steps("Loss, training and held out");
  plot.y.unit = "nats per token";
  plot.marks = marks_of(records);
  if (!records.steps.empty()) {
    const auto x = steps_of(records), y = column(records, &StepRecord::loss);
    const bool smooth = y.size() >= 40;
    if (smooth) plot.series.push_back({"each step", x, y, {}, {}, Series::Style::faint, 0});
    plot.series.push_back(
        {smooth ? "training, smoothed" : "training", x, smooth ? smoothed(y) : y, {}, {}, Series::Style::line, 0});
  }
  Series held{"held out", {}, {}, {}, {}, Series::Style::points, 1};
  Series bits{"bits per byte", {}, {}, {}, {}, Series::Style::points, 1};
  for (const EvalRecord& e : records.evals) {
    const auto step = static_cast<double>(e.step);
    held.x.push_back(step);
    // The last evaluation reads more text; its interval belongs to all of it.
    const auto nats_interval = e.first ? std::nullopt : e.nats_per_token_interval;
    const auto bits_interval = e.first ? std::nullopt : e.bits_per_byte_interval;
    held.y.push_back(e.curve_nats());
    held.low.push_back(nats_interval ? nats_interval->low : kUnknown);
    held.high.push_back(nats_interval ? nats_interval->high : kUnknown);
    bits.x.push_back(step);
    bits.y.push_back(e.curve_bits().value_or(kUnknown));
    bits.low.push_back(bits_interval ? bits_interval->low : kUnknown);
    bits.high.push_back(bits_interval ? bits_interval->high : kUnknown);
  }
  if (!held.x.empty()) plot.series.push_back(held);
  if (plot.series.empty()) return "";
  LinePlot wide = plot, narrow = plot;
  wide.width = 1020;
  wide.height = 400;
  narrow.width = 380;
  narrow.height = 330;
  std::string body = "<figure class=\"card hero\"><div class=\"wide\">" + svg(wide) + "</div><div class=\"narrow\">" +
                     svg(narrow) + "</div></figure>";
  std::string more;
  if (records.steps.size() >= 80) {  // the end of training, where runs are compared
    LinePlot end = plot;
    end.title = "The last three quarters";
    end.marks.clear();
    const double from = static_cast<double>(records.steps.back().step) / 4;
    end.x.low = from;
    for (Series& s : end.series) {
      for (std::size_t i = 0; i < s.x.size(); ++i)
        if (s.x[i] < from) s.y[i] = kUnknown;
    }
    more += figure(end, "the same, closer");
  }
  if (any_finite(bits.y)) {
    LinePlot quality = over_steps("Held-out bits per byte");
    quality.y.unit = "bits per byte";
    quality.x.high =
        records.steps.empty() ? std::nullopt : std::optional(static_cast<double>(records.steps.back().step));
    quality.series = {bits};
    more += figure(quality, "with 95 % interval");
  }
  if (!more.empty()) body += "<div class=\"figures\">" + more + "</div>";
  return section("loss", "Loss", body);
}

std::string optimizer_section(const RunRecords& records) {
  const auto x = steps_of(records);
  std::string body;
  const auto add = [&](std::string title, std::string_view remark, double StepRecord::*member, int colour,
                       bool smooth) {
    const auto y = column(records, member);
    if (!any_finite(y)) return;
    LinePlot plot = over_steps(std::move(title));
    plot.y.log = smooth && wants_log(y);
    if (!plot.y.log) plot.y.low = 0;
    if (smooth && y.size() >= 40) plot.series.push_back({"each step", x, y, {}, {}, Series::Style::faint, colour});
    plot.series.push_back({smooth && y.size() >= 40 ? "smoothed" : "value",
                           x,
                           smooth && y.size() >= 40 ? smoothed(y) : y,
                           {},
                           {},
                           Series::Style::line,
                           colour});
    body += figure(plot, remark);
  };
  add("Learning rate", "", &StepRecord::lr, 3, false);
  add("Gradient norm", "before clipping", &StepRecord::grad_norm, 2, true);
  return section("optimizer", "Optimizer", body.empty() ? "" : "<div class=\"figures\">" + body + "</div>");
}

std::string speed_section(const RunRecords& records, const Outcome& outcome) {
  const auto x = steps_of(records);
  std::string body;
  const auto add = [&](std::string title, std::string remark, std::string unit, double StepRecord::*member,
                       TickText text, int colour) {
    const auto y = column(records, member);
    if (!any_finite(y)) return;
    LinePlot plot = over_steps(std::move(title));
    plot.y.unit = std::move(unit);
    plot.y.text = text;
    plot.y.low = 0;
    const bool smooth = y.size() >= 40;
    if (smooth) plot.series.push_back({"each step", x, y, {}, {}, Series::Style::faint, colour});
    plot.series.push_back(
        {smooth ? "smoothed" : "value", x, smooth ? smoothed(y) : y, {}, {}, Series::Style::line, colour});
    body += figure(plot, remark);
  };
  add("Tokens per second", std::isfinite(outcome.tok_s) ? "median " + number(outcome.tok_s, 3) : "", "",
      &StepRecord::tok_s, TickText::plain, 0);
  add("Share of the machine’s peak", std::isfinite(outcome.peak_share) ? "median " + percent(outcome.peak_share) : "",
      "", &StepRecord::peak_share, TickText::percent, 4);
  if (body.empty()) return "";
  return section("speed", "Speed", "<div class=\"figures\">" + body + "</div>");
}

}  // namespace lowbit::report
