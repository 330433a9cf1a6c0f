#include <algorithm>
#include <cmath>
#include <map>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/files/json.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"
#include "lowbit/study/page_sections.h"

namespace lowbit::study {
namespace {

namespace fs = std::filesystem;
using report::LinePlot, report::Series;

/// The block that a layer's name tells, or -1.
int block_of(const std::string& name) {
  const std::size_t at = name.find("layers.");
  return at == std::string::npos ? -1 : std::atoi(name.c_str() + at + 7);
}

/// A mean a block over a list of layers.
void add_depth(LinePlot& plot, Series series, const files::Json& layers, const char* key) {
  std::map<int, std::pair<double, int>> blocks;
  for (const files::Json& layer : layers) {
    const int block = block_of(files::required<std::string>(layer, "name", "diagnosis.json"));
    const double value = files::optional<double>(layer, key, report::kUnknown, "diagnosis.json");
    if (block < 0 || !std::isfinite(value)) continue;
    blocks[block].first += value;
    ++blocks[block].second;
  }
  for (const auto& [block, sum] : blocks) series.x.push_back(block), series.y.push_back(sum.first / sum.second);
  if (!series.x.empty()) plot.series.push_back(std::move(series));
}

LinePlot by_block(const char* title, bool share) {
  LinePlot plot;
  plot.title = title;
  plot.x.label = "block";
  plot.x.whole = true;
  if (share) plot.y.text = report::TickText::percent, plot.y.low = 0;
  return plot;
}

}  // namespace

std::string alignment_section(const std::vector<Group>& groups) {
  const Palette palette(groups);
  LinePlot cosine = by_block("Alignment of gradients by depth", false),
           still = by_block("Masked before and still masked", true), changed = by_block("Codes that changed", true);
  cosine.y.label = "cosine";
  cosine.y.high = 1;
  std::string notes;
  for (const Group& group : groups)
    for (const Run* run : group.runs) {
      const fs::path file = run->folder / "diagnosis.json";
      std::error_code error;
      if (!fs::is_regular_file(file, error)) continue;
      Series series;
      series.name = group.format + " at " + human_count(group.parameters);
      series.style = Series::Style::points;
      series.colour = palette.colour(group.format);
      try {
        const files::Json json = files::read_json(file);
        Series line = series;
        for (const files::Json& block : files::required<std::vector<files::Json>>(json, "blocks", file.string())) {
          line.x.push_back(files::required<double>(block, "layer", file.string()));
          line.y.push_back(files::required<double>(block, "cosine", file.string()));
        }
        if (!line.x.empty()) cosine.series.push_back(std::move(line));
        const auto changes = files::optional<files::Json>(json, "changes", files::Json::array(), file.string());
        add_depth(still, series, changes, "still_masked");
        add_depth(changed, series, changes, "codes_changed");
      } catch (const Error& problem) {
        notes += "<p class=\"note\">" + report::escape(problem.what()) + "</p>";
      }
      break;  // one seed of a group is enough to see its shape
    }
  std::string figures;
  for (const LinePlot* plot : {&cosine, &still, &changed})
    if (!plot->series.empty())
      figures += tall_figure(
          *plot, plot == &cosine ? "with quantized activations and without" : "since an earlier checkpoint");
  if (figures.empty() && notes.empty()) return "";
  return report::section("gradients", "Gradients and what moves", notes + figures_of(figures));
}

}  // namespace lowbit::study
