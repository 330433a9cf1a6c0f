#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"

namespace lowbit::report {
namespace {

struct Place {
  std::string row;   // the block's number; the whole name where there is none
  std::string kind;  // "q", "down", ...
  bool in_block = false;
};

// "model.layers.3.self_attn.q_proj" is kind q in row 3.
Place place_of(const std::string& name) {
  constexpr std::string_view marker = "layers.";
  const std::size_t at = name.find(marker);
  if (at == std::string::npos) return {name, "", false};
  const std::size_t digits = at + marker.size();
  const std::size_t dot = name.find('.', digits);
  if (dot == std::string::npos || dot == digits || name.find_first_not_of("0123456789", digits) != dot)
    return {name, "", false};
  std::string kind = name.substr(name.rfind('.') + 1);
  if (kind.ends_with("_proj") && kind.size() > 5) kind.resize(kind.size() - 5);
  return {name.substr(digits, dot - digits), kind, true};
}

using Member = double LayerMasks::*;

// In percent, all of a table with the decimals that its largest share asks for.
std::string cell(double share, double largest) {
  if (!std::isfinite(share)) return "<td style=\"--a:0\">–</td>";
  const int decimals = largest >= 0.0995 ? 1 : largest >= 0.000995 ? 2 : 4;
  const double depth = largest > 0 ? 0.05 + 0.6 * std::clamp(share / largest, 0.0, 1.0) : 0.05;
  return fmt::format("<td style=\"--a:{:.2f}\">{:.{}f}</td>", depth, 100 * share, decimals);
}

// Blocks down, kinds of layer across, darker for larger shares.
std::string heat_table(const MasksRecord& masks, Member member) {
  std::vector<std::string> rows, kinds;
  std::map<std::pair<std::string, std::string>, double> cells;
  std::vector<const LayerMasks*> others;
  double largest = 0;
  for (const LayerMasks& layer : masks.layers) {
    const double share = layer.*member;
    if (std::isfinite(share)) largest = std::max(largest, share);
    const Place place = place_of(layer.layer);
    if (!place.in_block) {
      others.push_back(&layer);
      continue;
    }
    if (std::find(rows.begin(), rows.end(), place.row) == rows.end()) rows.push_back(place.row);
    if (std::find(kinds.begin(), kinds.end(), place.kind) == kinds.end()) kinds.push_back(place.kind);
    cells[{place.row, place.kind}] = share;
  }
  std::string html;
  if (!rows.empty()) {
    html += "<table class=\"heat\"><thead><tr><th></th>";
    for (const std::string& kind : kinds) html += "<th>" + escape(kind) + "</th>";
    html += "</tr></thead><tbody>";
    for (const std::string& row : rows) {
      html += "<tr><th>" + escape(row) + "</th>";
      for (const std::string& kind : kinds) {
        const auto found = cells.find({row, kind});
        html += cell(found == cells.end() ? kUnknown : found->second, largest);
      }
      html += "</tr>";
    }
    html += "</tbody></table>";
  }
  if (!others.empty()) {
    html += "<table class=\"heat named\"><tbody>";
    for (const LayerMasks* layer : others)
      html += "<tr><th>" + escape(layer->layer) + "</th>" + cell(layer->*member, largest) + "</tr>";
    html += "</tbody></table>";
  }
  return html;
}

// One line a kind of layer, the mean over the blocks.
std::vector<Series> kinds_over_time(const RunRecords& records, Member member) {
  std::vector<Series> series;
  for (const MasksRecord& masks : records.masks) {
    std::map<std::string, std::pair<double, int>> means;
    for (const LayerMasks& layer : masks.layers) {
      const double share = layer.*member;
      if (!std::isfinite(share)) continue;
      const Place place = place_of(layer.layer);
      const std::string kind = place.in_block ? place.kind : "other";
      auto& [sum, count] = means[kind];
      sum += share;
      ++count;
      if (std::none_of(series.begin(), series.end(), [&](const Series& s) { return s.name == kind; }))
        series.push_back({kind, {}, {}, {}, {}, Series::Style::line, static_cast<int>(series.size())});
    }
    for (Series& s : series) {
      const auto found = means.find(s.name);
      s.x.push_back(static_cast<double>(masks.step));
      s.y.push_back(found == means.end() ? kUnknown : found->second.first / found->second.second);
    }
  }
  return series;
}

struct Side {  // of weights or of activations
  std::string now, over_time;
};

Side side_of(const RunRecords& records, Member member, const std::string& what) {
  auto series = kinds_over_time(records, member);
  if (series.empty()) return {};
  const MasksRecord& last = records.masks.back();
  Side side;
  side.now = fmt::format(
      "<figure class=\"card\"><figcaption>{} <span>percent per layer, at step {}</span></figcaption>"
      "<div class=\"scroll\">{}</div></figure>",
      what, grouped(last.step), heat_table(last, member));
  if (records.masks.size() > 1) {
    LinePlot plot;
    plot.title = what + " over time";
    plot.x.label = "step";
    plot.x.low = 0;
    plot.y.text = TickText::percent;
    plot.y.low = 0;
    plot.series = std::move(series);
    side.over_time = figure(plot, "mean over the blocks");
  }
  return side;
}

}  // namespace

std::string masks_section(const RunRecords& records) {
  if (records.masks.empty()) return "";
  const Side weights = side_of(records, &LayerMasks::weight, "Weights");
  const Side inputs = side_of(records, &LayerMasks::input, "Activations");
  if (weights.now.empty() && inputs.now.empty()) return "";
  return section("masks", "Masked entries",
                 "<p>The share of entries that lie too far outside the grid for their gradient to be trusted, and that "
                 "the backward pass leaves out.</p><div class=\"figures\">" +
                     weights.now + inputs.now + weights.over_time + inputs.over_time + "</div>");
}

}  // namespace lowbit::report
