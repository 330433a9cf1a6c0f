#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>

#include "lowbit/base/progress.h"
#include "lowbit/laws/bits.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"
#include "lowbit/study/page_sections.h"

namespace lowbit::study {
namespace {

using report::escape, report::LinePlot, report::Series;

std::string at_place(double parameters, double tokens) {
  return human_count(parameters) + " parameters, " + human_count(tokens) + " tokens";
}

/// A usual format: its name is its format word, without another estimator, rotation or label.
bool plain(const Group& group) { return group.format.find(' ') == std::string::npos; }

struct Table {
  std::vector<std::string> rows, columns;
  std::map<std::pair<std::string, std::string>, Mean> cells;
  void put(const std::string& row, const std::string& column, const Mean& mean) {
    if (std::find(rows.begin(), rows.end(), row) == rows.end()) rows.push_back(row);
    if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
    cells[{row, column}] = mean;
  }
};

/// Darker for more; each cell has the mean and under it the half width of its interval.
std::string heat(const Table& table, const char* classes) {
  double least = INFINITY, most = -INFINITY;
  for (const auto& [key, mean] : table.cells)
    if (std::isfinite(mean.value)) least = std::min(least, mean.value), most = std::max(most, mean.value);
  std::string html = fmt::format("<div class=\"scroll\"><table class=\"heat {}\"><thead><tr><th></th>", classes);
  for (const std::string& column : table.columns) html += "<th>" + escape(column) + "</th>";
  html += "</tr></thead><tbody>";
  for (const std::string& row : table.rows) {
    html += "<tr><th>" + escape(row) + "</th>";
    for (const std::string& column : table.columns) {
      const auto found = table.cells.find({row, column});
      if (found == table.cells.end() || !std::isfinite(found->second.value)) {
        html += "<td style=\"--a:0\">–</td>";
        continue;
      }
      const Mean& mean = found->second;
      const double depth = most > least ? 0.05 + 0.6 * (mean.value - least) / (most - least) : 0.2;
      html += fmt::format("<td style=\"--a:{:.2f}\">{:.3f}{}</td>", depth, mean.value,
                          std::isfinite(mean.interval.low)
                              ? fmt::format("<br/><small>± {:.3f}</small>", mean.interval.high - mean.value)
                              : "");
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

std::string card(const std::string& title, const std::string& remark, const std::string& html) {
  return fmt::format("<figure class=\"card\"><figcaption>{} <span>{}</span></figcaption>{}</figure>", escape(title),
                     escape(remark), html);
}

/// Gaps over weight bits: a line for each size and each way of activations.
LinePlot gap_plot(const std::vector<Group>& groups) {
  struct Line {
    std::map<double, Mean> at;
  };
  std::map<std::tuple<double, double, std::string>, Line> lines;
  std::set<std::pair<double, double>> places;
  for (const Group& g : groups) {
    const auto bits = laws::bits_of(g.format);
    if (!bits || g.full_precision() || !plain(g) || !std::isfinite(g.gap.value)) continue;
    const std::string kind = bits->activation == bits->weight ? "wXaX" : fmt::format("wXa{:g}", bits->activation);
    lines[{g.parameters, g.tokens, kind}].at[bits->weight] = g.gap;
    places.insert({g.parameters, g.tokens});
  }
  LinePlot plot;
  plot.title = "Gap to full precision against bits of a weight";
  plot.x.label = "bits";
  plot.x.whole = true;
  plot.x.low = 0;
  plot.y.label = "gap";
  plot.y.unit = "nats per token";
  plot.y.low = 0;
  for (const auto& [key, line] : lines) {
    const double n = std::get<0>(key), d = std::get<1>(key);
    const std::string& kind = std::get<2>(key);
    // More lines than colours: the grid below shows what activations do.
    if (lines.size() > report::kPlotColours && kind != "wXaX") continue;
    Series s;
    const auto lengths =
        std::count_if(places.begin(), places.end(), [&](const auto& place) { return place.first == n; });
    s.name = kind + (places.size() > 1 ? " at " + human_count(n) : "") +
             (lengths > 1 ? ", " + human_count(d) + " tokens" : "");
    s.style = Series::Style::points;
    s.colour = static_cast<int>(plot.series.size());
    for (const auto& [bits, gap] : line.at) {
      s.x.push_back(bits);
      s.y.push_back(gap.value);
      s.low.push_back(gap.interval.low);
      s.high.push_back(gap.interval.high);
      if (gap.value < 0 || gap.interval.low < 0) plot.y.low.reset();
    }
    plot.series.push_back(std::move(s));
  }
  return plot;
}

/// The grid of weight bits by activation bits where formats were run that differ in both.
std::string grid_card(const std::vector<Group>& groups, const Place& place) {
  std::map<std::pair<double, double>, Mean> cells;
  std::set<double> weights, activations;
  for (const Group& g : groups) {
    const auto bits = laws::bits_of(g.format);
    // Float activations are rotated or not; where both were run, that which is usual for them counts.
    const bool rotated = g.format.ends_with("a16 hadamard");
    if (g.parameters != place.parameters || g.tokens != place.tokens || !bits || g.full_precision() ||
        !(plain(g) || rotated) || !g.format.starts_with("w") || g.format.find('+') != std::string::npos)
      continue;
    if (rotated && cells.contains({bits->weight, bits->activation})) continue;
    cells[{bits->weight, bits->activation}] = std::isfinite(g.gap.value) ? g.gap : g.loss;
    weights.insert(bits->weight);
    activations.insert(bits->activation);
  }
  const auto mixed =
      std::count_if(cells.begin(), cells.end(), [](const auto& c) { return c.first.first != c.first.second; });
  if (weights.size() < 2 || activations.size() < 2 || mixed < 2) return "";
  Table table;
  for (const double w : weights)
    for (const double a : activations) {
      const auto found = cells.find({w, a});
      table.put(fmt::format("w{:g}", w), fmt::format("a{:g}", a), found == cells.end() ? Mean{} : found->second);
    }
  return card("Bits of weights by bits of activations",
              "gap, nats per token, at " + at_place(place.parameters, place.tokens), heat(table, ""));
}

}  // namespace

std::string bits_section(const std::vector<Group>& groups) {
  std::string figures;
  const LinePlot gaps = gap_plot(groups);
  std::size_t values = 0;
  for (const Series& s : gaps.series) values += s.x.size();
  if (values > 1) figures += tall_figure(gaps, "bars: 95 % over seeds");
  if (const auto place = fullest_place(groups)) figures += grid_card(groups, *place);
  return figures.empty() ? "" : report::section("bits", "What bits cost", figures_of(figures));
}

std::string estimators_section(const std::vector<Group>& groups) {
  // By size, by format, what was tried; formats that were trained in one way only compare nothing.
  std::map<std::pair<double, double>, std::map<std::string, std::vector<std::pair<std::string, Mean>>>> tried;
  for (const Group& g : groups) {
    if (g.full_precision()) continue;
    const report::RunInfo& info = *g.runs.front()->records.info;
    std::string way = info.estimator + (info.transform.empty() ? "" : ", " + info.transform);
    // What else the name tells: another scale, an addition, a label.
    const std::vector<std::string> words = words_of(g.format);
    for (const std::string& word : std::span(words).subspan(1))
      if (word != info.estimator && word != info.transform && word != "no-rotation") way += ", " + word;
    tried[{g.parameters, g.tokens}][info.format].emplace_back(way, std::isfinite(g.gap.value) ? g.gap : g.loss);
  }
  std::string html;
  for (const auto& [place, formats] : tried) {
    Table table;
    for (const auto& [format, ways] : formats)
      if (ways.size() > 1)
        for (const auto& [way, mean] : ways) table.put(way, format, mean);
    if (!table.rows.empty())
      html +=
          card("Estimators and rotations",
               "gap (without a full-precision twin: loss), nats per token, at " + at_place(place.first, place.second),
               heat(table, "wide-head"));
  }
  return html.empty() ? "" : report::section("estimators", "Estimators", figures_of(html));
}

std::string depth_section(const std::vector<Group>& groups) {
  const auto place = fullest_place(groups);
  if (!place) return "";
  const Palette palette(groups);
  LinePlot weights, inputs;
  weights.title = "Masked weights by depth";
  inputs.title = "Masked activations by depth";
  for (LinePlot* plot : {&weights, &inputs}) {
    plot->x.label = "block";
    plot->x.whole = true;
    plot->y.label = "share";
    plot->y.text = report::TickText::percent;
    plot->y.low = 0;
  }
  for (const Group& g : groups) {
    if (g.parameters != place->parameters || g.tokens != place->tokens || g.runs.front()->records.masks.empty() ||
        !palette.is_named(g.format))
      continue;
    for (const auto& [plot, member] :
         {std::pair{&weights, &report::LayerMasks::weight}, {&inputs, &report::LayerMasks::input}}) {
      std::map<int, std::pair<double, int>> blocks;
      for (const report::LayerMasks& layer : g.runs.front()->records.masks.back().layers) {
        const std::size_t at = layer.layer.find("layers.");
        if (at == std::string::npos || !std::isfinite(layer.*member)) continue;
        const int block = std::atoi(layer.layer.c_str() + at + 7);
        blocks[block].first += layer.*member;
        ++blocks[block].second;
      }
      if (blocks.empty()) continue;
      Series s;
      s.name = g.format;
      s.style = Series::Style::points;
      s.colour = palette.colour(g.format);
      for (const auto& [block, sum] : blocks) s.x.push_back(block), s.y.push_back(sum.first / sum.second);
      plot->series.push_back(std::move(s));
    }
  }
  std::string figures;
  for (const LinePlot* plot : {&weights, &inputs})
    if (!plot->series.empty()) figures += tall_figure(*plot, "mean over a block's layers, at the end");
  if (figures.empty()) return "";
  return report::section("masks", "Masked entries by depth",
                         "<p>The share of entries whose gradient the trust rule stops, at " +
                             escape(at_place(place->parameters, place->tokens)) + ".</p>" + figures_of(figures));
}

std::string curves_section(const std::vector<Group>& groups) {
  const auto place = fullest_place(groups);
  if (!place) return "";
  const Palette palette(groups);
  LinePlot plot;
  plot.title = "Held-out loss while training";
  plot.x.label = "tokens";
  plot.y.label = "loss";
  plot.y.unit = "nats per token";
  for (const Group& g : groups) {
    const report::RunRecords& records = g.runs.front()->records;
    if (g.parameters != place->parameters || g.tokens != place->tokens || records.evals.size() < 3 ||
        !palette.is_named(g.format))
      continue;
    Series s;
    s.name = g.format;
    s.colour = palette.colour(g.format);
    for (const report::EvalRecord& eval : records.evals) {
      if (eval.step == 0) continue;  // ln of the vocabulary: it would flatten the rest
      s.x.push_back(static_cast<double>(eval.step * records.info->tokens_per_step));
      s.y.push_back(eval.curve_nats());
    }
    plot.series.push_back(std::move(s));
  }
  if (plot.series.empty()) return "";
  return report::section(
      "training", "While training",
      figures_of(tall_figure(plot, "first seed of each, at " + at_place(place->parameters, place->tokens))));
}

std::string samples_section(const std::vector<Group>& groups) {
  constexpr std::size_t kMost = 700;  // bytes of one text
  const auto place = fullest_place(groups);
  if (!place) return "";
  std::string cards;
  for (const Group& g : groups) {
    if (g.parameters != place->parameters || g.tokens != place->tokens || g.runs.front()->records.samples.empty())
      continue;
    const report::SampleRecord& s = g.runs.front()->records.samples.back();
    std::size_t end = std::min(s.text.size(), kMost);
    while (end < s.text.size() && end > 0 && (s.text[end] & 0xC0) == 0x80) --end;  // not inside a character
    cards += card(g.format, fmt::format("loss {:.3f}", g.runs.front()->eval->nats_per_token),
                  fmt::format("<blockquote dir=\"auto\"><b>{}</b>{}{}</blockquote>", escape(s.prompt),
                              escape(s.text.substr(0, end)), end < s.text.size() ? " …" : ""));
  }
  if (cards.empty()) return "";
  return report::section("samples", "Samples side by side",
                         "<p>What each wrote last, at " + escape(at_place(place->parameters, place->tokens)) +
                             ".</p><div class=\"columns\">" + cards + "</div>");
}

}  // namespace lowbit::study
