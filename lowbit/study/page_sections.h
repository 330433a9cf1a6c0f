#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/report/svg_plot.h"
#include "lowbit/study/page.h"

// The parts of the study page. Each returns HTML, or nothing when there is nothing to say.
namespace lowbit::study {

/// Colours of formats, the same in all plots of a page. There are eight; where a page has more formats, the seven that
/// have most runs get one each, and the others share grey.
class Palette {
 public:
  static constexpr int kGrey = 6;
  /// Formats in the order of their first appearance, with the number of their groups or runs.
  explicit Palette(const std::vector<std::pair<std::string, std::size_t>>& formats);
  explicit Palette(const std::vector<Group>& groups);
  const std::vector<std::string>& named() const { return named_; }
  bool is_named(const std::string& format) const;
  int colour(const std::string& format) const;
  std::size_t others() const { return others_; }

 private:
  std::vector<std::string> named_;
  std::size_t others_ = 0;
};

/// "3.214", and of several seeds "3.214 ± .012".
std::string mean_text(const Mean& mean, int decimals = 3);
/// A plot on a card, tall enough for its legend.
std::string tall_figure(report::LinePlot plot, std::string_view remark = {});

/// Cards beside each other; one alone does not take the whole width.
std::string figures_of(const std::string& cards);

std::string results_section(const std::vector<Group>& groups);
std::string pareto_section(const std::vector<Group>& groups);
std::string law_section(const std::vector<Run>& runs, const laws::FitOptions& options);
std::string bits_section(const std::vector<Group>& groups);
std::string estimators_section(const std::vector<Group>& groups);
std::string depth_section(const std::vector<Group>& groups);
/// From diagnosis.json in run folders, as `lowbit diagnose --json` prints it.
std::string alignment_section(const std::vector<Group>& groups);
std::string curves_section(const std::vector<Group>& groups);
std::string samples_section(const std::vector<Group>& groups);
std::string runs_section(const std::vector<Run>& runs);

}  // namespace lowbit::study
