#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lowbit/report/metrics.h"
#include "lowbit/report/summary.h"
#include "lowbit/report/svg_plot.h"

// The parts of the run page. Each returns HTML that is well-formed XML, or nothing when there is nothing to say.
namespace lowbit::report {

/// <section id> with its heading; nothing when the body is empty.
std::string section(std::string_view id, std::string_view heading, const std::string& body);
/// A plot on a card under a caption; `remark` is set paler beside it. Both are text, not HTML.
std::string figure(const LinePlot& plot, std::string_view remark = {});
/// A definition list in columns; values are HTML.
std::string pairs(const std::vector<std::pair<std::string, std::string>>& rows, std::string_view classes = {});

/// A running mean over noisy values: over the 2h + 1 neighbours with h a sixtieth of the run (at least 2), fewer at the
/// start, where curves are steep. A gap stays a gap. Same length as the input.
std::vector<double> smoothed(const std::vector<double>& values);

std::string loss_section(const RunRecords& records);
std::string optimizer_section(const RunRecords& records);
std::string speed_section(const RunRecords& records, const Outcome& outcome);
/// --bits-budget: what was measured and allotted.
std::string bits_section(const RunRecords& records);
std::string masks_section(const RunRecords& records);
std::string samples_section(const RunRecords& records);
std::string sizes_section(const RunRecords& records, const Outcome& outcome);
std::string settings_section(const RunRecords& records, const Outcome& outcome);

}  // namespace lowbit::report
