#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/laws/bits.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"
#include "lowbit/study/page_sections.h"

namespace lowbit::study {
namespace {

using report::escape, report::LinePlot, report::Series;

std::string between(const laws::Between& b) {
  return std::isfinite(b.low) ? fmt::format("{} to {}", report::number(b.low, 3), report::number(b.high, 3)) : "";
}

std::string constants_table(const laws::Fit& fit) {
  std::string html = fmt::format(
      "<div class=\"scroll\"><table class=\"numbers\"><thead><tr><th>Constant</th><th>Value</th><th>{:g} % "
      "interval</th><th></th></tr></thead><tbody>",
      100 * fit.options.level);
  for (const laws::Found& c : fit.constants)
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"soft\">{}</td></tr>", c.name,
                        report::number(c.value, 4), between(c.interval),
                        c.held   ? "held"
                        : c.told ? ""
                                 : "not identifiable from these runs");
  return html + "</tbody></table></div>";
}

std::string formats_table(const laws::Fit& fit) {
  const bool additive = fit.options.law == laws::Law::additive;
  std::string html = fmt::format(
      "<div class=\"scroll\"><table class=\"numbers\"><thead><tr><th>Format</th><th>{}</th><th>{:g} % "
      "interval</th><th>{}</th></tr></thead><tbody>",
      additive ? "k" : "eff", 100 * fit.options.level,
      additive ? "eff at " + human_count(fit.middle_n) : std::string("eff / bits × 16"));
  for (std::size_t f = 0; f < fit.points.formats.size(); ++f) {
    const auto bits = laws::bits_of(fit.points.formats[f]);
    const double second = additive ? fit.eff(f, fit.middle_n) : bits ? 16 * fit.c.of_format[f] / bits->weight : NAN;
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", escape(fit.points.formats[f]),
                        report::number(fit.c.of_format[f], 3), between(fit.of_format[f].interval),
                        report::number(second, 3));
  }
  return html + "</tbody></table></div>";
}

Palette palette_of(const laws::Fit& fit) {
  std::vector<std::pair<std::string, std::size_t>> formats;
  for (std::size_t f = 0; f < fit.points.formats.size(); ++f) {
    std::set<double> sizes;  // not runs: a format at many sizes is a line, one with many seeds a dot
    for (const laws::Point& p : fit.points.points)
      if (p.format == f) sizes.insert(p.n);
    formats.emplace_back(fit.points.formats[f], sizes.size());
  }
  return Palette(formats);
}

Series others_of(const Palette& palette) {
  Series others;
  others.name = fmt::format("{} others", palette.others());
  others.style = Series::Style::dots;
  others.colour = Palette::kGrey;
  return others;
}

void add_others(LinePlot& plot, Series others) {
  if (others.x.empty()) return;
  std::vector<std::size_t> order(others.x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return others.x[a] < others.x[b]; });
  Series sorted = others;
  for (std::size_t i = 0; i < order.size(); ++i) sorted.x[i] = others.x[order[i]], sorted.y[i] = others.y[order[i]];
  plot.series.insert(plot.series.begin(), std::move(sorted));  // behind the named ones
}

/// Runs as dots, the law as a line through what it says at their sizes and tokens.
LinePlot law_plot(const laws::Fit& fit) {
  LinePlot plot;
  plot.title = "The law and the runs";
  plot.x.label = "parameters without embeddings";
  plot.x.log = true;
  plot.y.label = "held-out loss";
  plot.y.unit = "nats per token";
  const Palette palette = palette_of(fit);
  Series others = others_of(palette);
  for (std::size_t f = 0; f < fit.points.formats.size(); ++f) {
    std::map<double, std::pair<double, double>> line;  // by size: the most tokens, and the law there
    std::vector<std::pair<double, double>> runs;
    for (std::size_t i = 0; i < fit.points.points.size(); ++i) {
      const laws::Point& p = fit.points.points[i];
      if (p.format != f || !std::isfinite(fit.foretold[i])) continue;
      runs.emplace_back(p.n, p.loss);
      line[p.n] = std::max(line[p.n], {p.d, fit.foretold[i]});
    }
    std::sort(runs.begin(), runs.end());
    if (runs.empty()) continue;
    const std::string& format = fit.points.formats[f];
    Series law, dots;
    law.colour = dots.colour = palette.colour(format);
    dots.name = format;
    dots.style = Series::Style::dots;
    Series& to = palette.is_named(format) ? dots : others;
    for (const auto& [n, loss] : runs) to.x.push_back(n), to.y.push_back(loss);
    if (dots.x.empty()) continue;
    for (const auto& [n, there] : line) law.x.push_back(n), law.y.push_back(there.second);
    plot.series.push_back(std::move(law));  // without a name: the dots' entry in the legend serves both
    plot.series.push_back(std::move(dots));
  }
  add_others(plot, std::move(others));
  return plot;
}

LinePlot residual_plot(const laws::Fit& fit) {
  LinePlot plot;
  plot.title = "What the law leaves";
  plot.x.label = "parameters without embeddings";
  plot.x.log = true;
  plot.y.label = "run minus law";
  plot.y.unit = "nats per token";
  std::set<double> sizes;
  for (const laws::Point& p : fit.points.points) sizes.insert(p.n);
  plot.series.push_back({"", {*sizes.begin(), *sizes.rbegin()}, {0, 0}, {}, {}, Series::Style::faint, 6});
  const Palette palette = palette_of(fit);
  Series others = others_of(palette);
  for (std::size_t f = 0; f < fit.points.formats.size(); ++f) {
    std::vector<std::pair<double, double>> rest;
    for (std::size_t i = 0; i < fit.points.points.size(); ++i)
      if (fit.points.points[i].format == f && std::isfinite(fit.foretold[i]))
        rest.emplace_back(fit.points.points[i].n, fit.points.points[i].loss - fit.foretold[i]);
    std::sort(rest.begin(), rest.end());
    const std::string& format = fit.points.formats[f];
    Series s;
    s.name = format;
    s.style = Series::Style::dots;
    s.colour = palette.colour(format);
    Series& to = palette.is_named(format) ? s : others;
    for (const auto& [n, r] : rest) to.x.push_back(n), to.y.push_back(r);
    if (!s.x.empty()) plot.series.push_back(std::move(s));
  }
  add_others(plot, std::move(others));
  return plot;
}

std::string one_law(const laws::Fit& fit, const char* heading, const char* formula) {
  std::string html = fmt::format(
      "<h3 style=\"margin-top:1.6rem\">{}</h3><p class=\"note\">{}. rms {:.4f} nats over the runs it was fitted "
      "to{}.</p>",
      heading, formula, fit.rms,
      fit.held_out_rms ? fmt::format(", {:.4f} over {} that were held out", *fit.held_out_rms, fit.held_out) : "");
  html += "<div class=\"figures\">" + tall_figure(law_plot(fit)) + tall_figure(residual_plot(fit)) + "</div>";
  html += "<div class=\"figures\"><div>" + constants_table(fit);
  for (const std::string& note : fit.notes)
    html += "<p class=\"note\" style=\"margin:.8rem 0 0\">" + escape(note) + "</p>";
  html += "</div><div>" + formats_table(fit) + "</div></div>";
  return html;
}

}  // namespace

std::string law_section(const std::vector<Run>& runs, const laws::FitOptions& options) {
  const laws::Points points = points_of(runs);
  std::set<double> sizes;
  for (const laws::Point& p : points.points) sizes.insert(p.n);
  if (sizes.size() < 2) return "";  // no law over one size, and nobody expects one
  std::string html;
  struct Form {
    laws::Law law;
    const char *heading, *formula;
  };
  for (const Form& form :
       {Form{laws::Law::efficiency, "Effective parameters", "L = A / (N eff)<sup>α</sup> + B / D<sup>β</sup> + E"},
        Form{laws::Law::additive, "Additive cost of a format",
             "L = A / N<sup>α</sup> + B / D<sup>β</sup> + E + k N<sup>−g</sup>"}}) {
    laws::FitOptions own = options;
    own.law = form.law;
    // Constants of the other law are not for this one.
    std::erase_if(own.hold, [&](const auto& held) {
      const bool additive = form.law == laws::Law::additive;
      return held.first.starts_with(additive ? "eff." : "k.") || (!additive && held.first == "g");
    });
    try {
      html += one_law(laws::fit(points, own), form.heading, form.formula);
    } catch (const Error& error) {
      html += fmt::format("<h3 style=\"margin-top:1.6rem\">{}</h3><p class=\"note\">Not fitted: {}.</p>", form.heading,
                          escape(error.what()));
    }
  }
  return report::section("laws", "Laws of the loss", html);
}

}  // namespace lowbit::study
