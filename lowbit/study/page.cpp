#include "lowbit/study/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "lowbit/base/progress.h"
#include "lowbit/report/page_frame.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"
#include "lowbit/study/page_sections.h"

namespace lowbit::study {
namespace {

using report::escape;

constexpr std::string_view kCss = R"(
.numbers th{border-bottom:1px solid var(--rule);white-space:nowrap}
.numbers td,.numbers th{text-align:right;white-space:nowrap;padding:.3rem 0 .3rem 1rem}
.numbers td:first-child,.numbers th:first-child{text-align:left;padding-left:0}
.numbers tr.new td{border-top:1px solid var(--rule)}
.numbers .best{font-weight:600}
.soft{color:var(--soft)}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:1.25rem;margin-top:1.1rem}
.columns blockquote{margin:0;font:1rem/1.55 var(--serif);white-space:pre-wrap;overflow-wrap:anywhere;
unicode-bidi:isolate}
.heat small{font-size:.92em;opacity:.75;white-space:normal}
.figures.alone{grid-template-columns:minmax(0,36rem)}
.heat.wide-head th:first-child{width:11em}
)";

std::string tile(std::string_view label, const std::string& value, const std::string& below) {
  return fmt::format("<div><dt>{}</dt><dd>{}</dd><dd>{}</dd></div>", escape(label), escape(value), escape(below));
}

std::string tiles(const std::vector<Run>& runs, const std::vector<Group>& groups) {
  std::size_t done = 0;
  double seconds = 0, tokens = 0;
  std::set<double> sizes;
  std::set<std::string> formats;
  for (const Run& run : runs) {
    done += run.eval.has_value();
    if (std::isfinite(run.outcome.seconds)) seconds += run.outcome.seconds;
    tokens += static_cast<double>(run.outcome.tokens);
    if (!run.eval) continue;
    sizes.insert(run.parameters);
    formats.insert(run.format);
  }
  std::string out = tile("Runs", fmt::format("{}", done),
                         done < runs.size() ? fmt::format("{} more are not done", runs.size() - done) : "all done");
  if (!sizes.empty())
    out += tile("Sizes", fmt::format("{}", sizes.size()),
                sizes.size() == 1 ? human_count(*sizes.begin()) + " parameters without embeddings"
                                  : fmt::format("{} to {} parameters without embeddings", human_count(*sizes.begin()),
                                                human_count(*sizes.rbegin())));
  if (!formats.empty()) {
    const auto best = std::min_element(groups.begin(), groups.end(),
                                       [](const Group& a, const Group& b) { return a.loss.value < b.loss.value; });
    out += tile("Formats", fmt::format("{}", formats.size()), "");
    out += tile("Least loss", fmt::format("{:.3f}", best->loss.value),
                best->format + " at " + human_count(best->parameters) + ", held out, nats per token");
  }
  if (seconds > 0) out += tile("Training", human_time(seconds), human_count(tokens) + " tokens");
  return "<dl class=\"tiles\">" + out + "</dl>";
}

}  // namespace

Palette::Palette(const std::vector<std::pair<std::string, std::size_t>>& formats) {
  auto order = formats;
  // Usual formats before others, as theirs are the lines that are looked for.
  const auto plain = [](const std::string& format) { return format.find(' ') == std::string::npos; };
  if (order.size() > report::kPlotColours)
    std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : plain(a.first) && !plain(b.first);
    });
  const std::size_t most = order.size() > report::kPlotColours ? report::kPlotColours - 1 : order.size();
  for (const auto& [format, count] : formats)  // named in the order of appearance
    if (std::any_of(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most),
                    [&name = format](const auto& o) { return o.first == name; }))
      named_.push_back(format);
  others_ = order.size() - most;
}

Palette::Palette(const std::vector<Group>& groups)
    : Palette([&] {
        std::vector<std::pair<std::string, std::size_t>> formats;
        for (const Group& g : groups) {
          const auto found =
              std::find_if(formats.begin(), formats.end(), [&](const auto& f) { return f.first == g.format; });
          if (found == formats.end())
            formats.emplace_back(g.format, 1);
          else
            ++found->second;
        }
        return formats;
      }()) {}

bool Palette::is_named(const std::string& format) const {
  return std::find(named_.begin(), named_.end(), format) != named_.end();
}

int Palette::colour(const std::string& format) const {
  const auto place = static_cast<int>(std::find(named_.begin(), named_.end(), format) - named_.begin());
  if (others_ == 0) return place;
  return !is_named(format) ? kGrey : place < kGrey ? place : place + 1;  // grey is the others'
}

std::string mean_text(const Mean& mean, int decimals) {
  if (!std::isfinite(mean.value)) return "–";
  std::string text = fmt::format("{:.{}f}", mean.value, decimals);
  if (std::isfinite(mean.interval.low)) text += fmt::format(" ± {:.{}f}", mean.interval.high - mean.value, decimals);
  return text;
}

std::string tall_figure(report::LinePlot plot, std::string_view remark) {
  std::size_t letters = 0;
  for (const report::Series& s : plot.series)
    if (s.style != report::Series::Style::faint) letters += s.name.size() + 6;
  plot.width = 440;
  plot.height = 300 + 18 * static_cast<int>(letters / 58);
  return report::figure(plot, remark);
}

std::string figures_of(const std::string& cards) {
  const bool alone = cards.find("<figure", cards.find("<figure") + 1) == std::string::npos;
  return fmt::format("<div class=\"figures{}\">{}</div>", alone ? " alone" : "", cards);
}

std::string study_page(const std::vector<Run>& runs, const PageOptions& options) {
  const std::vector<Group> groups = groups_of(runs);
  const std::pair<const char*, std::string> sections[] = {
      {"Results", results_section(groups)},       {"Size and time", pareto_section(groups)},
      {"Laws", law_section(runs, options.fit)},   {"Bits", bits_section(groups)},
      {"Estimators", estimators_section(groups)}, {"Masks", depth_section(groups)},
      {"Gradients", alignment_section(groups)},   {"Training", curves_section(groups)},
      {"Samples", samples_section(groups)},       {"Runs", runs_section(runs)}};
  report::PageFrame frame;
  frame.title = options.title;
  frame.css = kCss;
  frame.header = "<div class=\"eyebrow\"><span>lowbit study</span></div>\n<h1>" + escape(options.title) + "</h1>\n" +
                 (options.remark.empty() ? "" : "<p class=\"note\">" + escape(options.remark) + "</p>\n") +
                 tiles(runs, groups);
  frame.footer =
      "Written by lowbit from run.json and metrics.jsonl of the runs. The page loads nothing from elsewhere.";
  return report::page_of(frame, sections);
}

}  // namespace lowbit::study
