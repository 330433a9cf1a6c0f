#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "lowbit/base/progress.h"
#include "lowbit/laws/bits.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"
#include "lowbit/study/page_sections.h"

namespace lowbit::study {
namespace {

using report::escape, report::LinePlot, report::Series;

/// One series a format, through its sizes.
LinePlot by_format(const std::vector<Group>& groups, double Group::*x) {
  const Palette palette(groups);
  LinePlot plot;
  plot.x.log = true;
  plot.y.label = "held-out loss";
  plot.y.unit = "nats per token";
  // The least loss that so much of x buys, under the lines.
  std::vector<const Group*> sorted;
  for (const Group& g : groups)
    if (std::isfinite(g.*x) && g.*x > 0) sorted.push_back(&g);
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Group* a, const Group* b) { return a->*x < b->*x; });
  Series front;
  front.name = "least so far";
  front.style = Series::Style::faint;
  front.colour = 6;
  double least = INFINITY;
  for (const Group* g : sorted)
    if (g->loss.value < least) {
      if (std::isfinite(least)) front.x.push_back(g->*x), front.y.push_back(least);  // a step, not a slope
      least = g->loss.value;
      front.x.push_back(g->*x);
      front.y.push_back(least);
    }
  if (!sorted.empty()) front.x.push_back(sorted.back()->*x), front.y.push_back(least);
  plot.series.push_back(front);
  Series others;
  others.name = fmt::format("{} others", palette.others());
  others.style = Series::Style::dots;
  others.colour = Palette::kGrey;
  for (const Group* g : sorted)
    if (!palette.is_named(g->format)) others.x.push_back(g->*x), others.y.push_back(g->loss.value);
  if (!others.x.empty()) plot.series.push_back(std::move(others));
  for (const std::string& format : palette.named()) {
    Series s;
    s.name = format;
    s.style = Series::Style::points;
    s.colour = palette.colour(format);
    std::set<double> sizes;
    for (const Group* g : sorted) {
      if (g->format != format) continue;
      // Runs of one size and several lengths are no line over sizes.
      if (!sizes.insert(g->parameters).second) s.style = Series::Style::dots;
      s.x.push_back(g->*x);
      s.y.push_back(g->loss.value);
      s.low.push_back(g->loss.interval.low);
      s.high.push_back(g->loss.interval.high);
    }
    if (!s.x.empty()) plot.series.push_back(std::move(s));
  }
  return plot;
}

}  // namespace

std::string results_section(const std::vector<Group>& groups) {
  if (groups.empty()) return "";
  const bool gaps = std::any_of(groups.begin(), groups.end(),
                                [](const Group& g) { return std::isfinite(g.gap.value) && !g.full_precision(); });
  const bool bytes = std::any_of(groups.begin(), groups.end(), [](const Group& g) { return g.bytes > 0; });
  std::string html =
      "<p>Held-out loss in nats per token, mean over seeds with its 95 % interval (Student's t). The gap is to the "
      "best full-precision "
      "run of the same size and tokens, seed by seed where both have it.</p><div class=\"scroll\"><table "
      "class=\"numbers\"><thead><tr>"
      "<th>Format</th><th>Parameters</th><th>Tokens</th><th>Seeds</th><th>Loss</th>";
  if (gaps) html += "<th>Gap</th>";
  if (bytes) html += "<th>Stored</th>";
  html += "<th>Time</th></tr></thead><tbody>";
  const Group* before = nullptr;
  for (const Group& g : groups) {
    const bool fresh = before && (before->parameters != g.parameters || before->tokens != g.tokens);
    before = &g;
    html += fmt::format("<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>", fresh ? " class=\"new\"" : "",
                        escape(g.format), human_count(g.parameters), human_count(g.tokens), g.runs.size(),
                        mean_text(g.loss));
    if (gaps) html += "<td>" + (g.full_precision() && g.gap.value == 0 ? std::string("–") : mean_text(g.gap)) + "</td>";
    if (bytes) html += "<td>" + (g.bytes > 0 ? human_bytes(g.bytes) : "–") + "</td>";
    html += fmt::format("<td>{}</td></tr>", std::isfinite(g.seconds) ? human_time(g.seconds) : "–");
  }
  html += "</tbody></table></div>";
  return report::section("results", "Results", html);
}

std::string pareto_section(const std::vector<Group>& groups) {
  if (groups.size() < 2) return "";
  std::string figures;
  LinePlot bytes = by_format(groups, &Group::bytes);
  if (bytes.series.size() > 1) {
    bytes.title = "Loss against bytes as stored";
    bytes.x.label = "bytes";
    figures += tall_figure(bytes, "pale: the least that so many bytes buy");
  }
  LinePlot time = by_format(groups, &Group::seconds);
  if (time.series.size() > 1) {
    time.title = "Loss against time of training";
    time.x.label = "seconds";
    figures += tall_figure(time, "on the machines that trained them");
  }
  return figures.empty() ? "" : report::section("pareto", "What bytes and time buy", figures_of(figures));
}

std::string runs_section(const std::vector<Run>& runs) {
  std::string html =
      "<div class=\"scroll\"><table "
      "class=\"numbers\"><thead><tr><th>Folder</th><th>Format</th><th>Seed</th><th>Loss</th><th>State</th></tr></"
      "thead><tbody>";
  for (const Run& run : runs) {
    const std::string seed = run.flag("seed");
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                        escape(run.folder.filename().string()), escape(run.format), escape(seed),
                        run.eval ? fmt::format("{:.4f}", run.eval->nats_per_token) : "–",
                        run.eval ? "done" : escape(run.unfinished));
  }
  return report::section("runs", "Runs",
                         "<details><summary>All " + fmt::format("{}", runs.size()) + " runs</summary>" + html +
                             "</tbody></table></div></details>");
}

}  // namespace lowbit::study
