#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/study/runs.h"

namespace lowbit::study {
namespace {

/// Columns that are results or shape, not flags of train.
constexpr std::array<std::string_view, 11> kOwnColumns{
    "N",         "D",       "format",       "loss",          "loss_low",
    "loss_high", "seconds", "stored_bytes", "bits_per_byte", "predicted_gain",
    "allotted"};

/// Lines of a text that hold a row, as laws::read_csv counts them: neither empty nor a comment.
std::vector<std::pair<std::size_t, std::string_view>> rows_of(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::pair<std::size_t, std::string_view>> rows;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (const std::size_t from = line.find_first_not_of(" \t"); from != std::string_view::npos && line[from] != '#')
      rows.emplace_back(number, line);
  }
  return rows;
}

}  // namespace

std::vector<Run> read_table(const std::filesystem::path& file, const std::vector<std::string>& labels) {
  const std::string text = read_file(file);
  const laws::Points points = laws::read_csv(text, file.string());  // says what is wrong with the file
  const auto rows = rows_of(text);
  const std::vector<std::string> header = laws::cells_of(rows.at(0).second, file.string());
  std::vector<Run> runs;
  std::size_t next = 0;  // into points, which leave rows without a loss out
  for (std::size_t i = 1; i < rows.size() && next < points.points.size(); ++i) {
    const std::string place = fmt::format("{}:{}", file.string(), rows[i].first);
    const laws::Point& point = points.points[next];
    if (point.where != place) continue;
    ++next;
    std::vector<std::string> cells = laws::cells_of(rows[i].second, place);
    cells.resize(std::max(cells.size(), header.size()));
    const auto cell = [&](std::string_view column) -> std::string {
      const auto at = std::find(header.begin(), header.end(), column);
      return at == header.end() ? "" : cells[static_cast<std::size_t>(at - header.begin())];
    };
    const auto number = [&](std::string_view column) -> std::optional<double> {
      const std::string value = cell(column);
      if (value.empty() || value == "-") return std::nullopt;
      const auto parsed = laws::parse_count(value);
      if (!parsed) fail_input("{}: {} is '{}', wanted a number", place, column, value);
      return parsed;
    };
    Run& run = runs.emplace_back();
    run.folder = fmt::format("{}:{}", file.filename().string(), rows[i].first);
    run.parameters = point.n;
    run.tokens = point.d;
    report::RunInfo& info = run.records.info.emplace();
    info.format = points.formats[point.format];
    info.estimator = cell("estimator");
    info.transform = cell("transform");
    info.steps = 1;
    info.tokens_per_step = static_cast<std::int64_t>(point.d);
    for (std::size_t c = 0; c < header.size(); ++c)
      if (!cells[c].empty() && std::find(kOwnColumns.begin(), kOwnColumns.end(), header[c]) == kOwnColumns.end())
        info.flags.emplace_back(header[c], cells[c]);
    report::EvalRecord& eval = run.eval.emplace();
    eval.step = 1;
    eval.nats_per_token = point.loss;
    const auto low = number("loss_low"), high = number("loss_high");
    if (low && high) eval.nats_per_token_interval = report::Interval{*low, *high};
    eval.bits_per_byte = number("bits_per_byte");
    run.outcome.status = report::Outcome::Status::finished;
    run.outcome.step = run.outcome.planned_steps = 1;
    run.outcome.tokens = info.tokens_per_step;
    run.outcome.eval = eval;
    run.outcome.seconds = number("seconds").value_or(report::kUnknown);
    run.outcome.stored_bytes = static_cast<std::int64_t>(number("stored_bytes").value_or(0));
    run.format = format_name(run, labels);
  }
  return runs;
}

}  // namespace lowbit::study
