#include "lowbit/report/run_report.h"

#include <fmt/format.h>

#include <cmath>

#include "lowbit/base/file_write.h"
#include "lowbit/base/math.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/report/page_frame.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/summary.h"
#include "lowbit/report/svg_plot.h"
#include "lowbit/report/text.h"

namespace lowbit::report {
namespace {

std::string interval_text(const std::optional<Interval>& interval) {
  return interval ? fmt::format("95 % interval {:.3f} to {:.3f}", interval->low, interval->high) : "";
}

std::string tile(std::string_view label, const std::string& value, std::string_view unit, const std::string& below) {
  return fmt::format("<div><dt>{}</dt><dd>{}{}</dd><dd>{}</dd></div>", escape(label), escape(value),
                     unit.empty() ? "" : fmt::format("<small>{}</small>", escape(unit)), escape(below));
}

// A figure and its unit, apart: "3.1 MB" is shown as 3.1 with a small MB.
std::string split_tile(std::string_view label, const std::string& value, std::string_view unit,
                       const std::string& below) {
  const std::size_t space = value.rfind(' ');
  if (space == std::string::npos) return tile(label, value, unit, below);
  return tile(label, value.substr(0, space), value.substr(space + 1) + (unit.empty() ? "" : " ") + std::string(unit),
              below);
}

std::string tiles(const RunRecords& records, const Outcome& o) {
  std::string out;
  if (o.eval && o.eval->bits_per_byte)
    out += tile("Bits per byte, held out", fmt::format("{:.3f}", *o.eval->bits_per_byte), "",
                interval_text(o.eval->bits_per_byte_interval));
  if (o.eval && std::isfinite(o.eval->nats_per_token))
    out += tile("Held-out loss", fmt::format("{:.3f}", o.eval->nats_per_token), "nats",
                "perplexity " + number(math::exp(o.eval->nats_per_token), 4));
  if (std::isfinite(o.train_loss))
    out += tile("Training loss", fmt::format("{:.3f}", o.train_loss), "nats",
                fmt::format("mean of the last {}", counted(o.train_loss_steps, "step")));
  if (o.tokens > 0)
    out += split_tile("Trained on", human_count(static_cast<double>(o.tokens)), "tokens",
                      o.planned_steps > o.step ? fmt::format("step {} of {}", grouped(o.step), grouped(o.planned_steps))
                                               : grouped(o.step) + " steps");
  if (std::isfinite(o.seconds))
    out += tile(
        "Time", human_time(o.seconds), "",
        records.info && records.info->machine.threads > 0
            ? fmt::format("{} thread{}", records.info->machine.threads, records.info->machine.threads == 1 ? "" : "s")
            : "");
  if (std::isfinite(o.tok_s))
    out += tile("Speed", number(o.tok_s, 3), "tok/s",
                std::isfinite(o.peak_share) ? percent(o.peak_share) + " of the measured peak" : "");
  if (o.stored_bytes > 0)
    out += split_tile("Size as stored", human_bytes(static_cast<double>(o.stored_bytes)), "",
                      std::isfinite(o.bits_per_block_weight)
                          ? fmt::format("{:.2f} bits per weight in the blocks", o.bits_per_block_weight)
                          : "");
  return out.empty() ? "" : "<dl class=\"tiles\">" + out + "</dl>";
}

std::string page_title(const RunRecords& records, const Outcome& o) {
  std::string title = records.info && !records.info->format.empty() ? records.info->format : "Training run";
  const auto join = [&](const std::string& part) { title += " · " + part; };
  if (records.info && records.info->model.parameters > 0)
    join(human_count(static_cast<double>(records.info->model.parameters)) + " parameters");
  if (o.eval && std::isfinite(o.eval->nats_per_token))
    join(fmt::format("loss {:.3f}", o.eval->nats_per_token));
  else if (std::isfinite(o.train_loss))
    join(fmt::format("loss {:.3f}", o.train_loss));
  if (o.eval && o.eval->bits_per_byte) join(fmt::format("{:.3f} bits per byte", *o.eval->bits_per_byte));
  if (std::isfinite(o.seconds)) join(human_time(o.seconds));
  return title;
}

std::string headline(const RunRecords& records) {
  if (!records.info || records.info->format.empty()) return "Training run";
  std::string out = "<span class=\"format\">" + escape(records.info->format) + "</span>";
  if (records.info->model.parameters > 0) {
    std::string count = human_count(static_cast<double>(records.info->model.parameters));
    if (const std::size_t space = count.find(' '); space != std::string::npos) count.replace(space, 1, "&#160;");
    out += " at " + count + " parameters";
  }
  return out;
}

std::string lede(const RunRecords& records, const Outcome& o) {
  std::string out;
  if (records.info) {
    const RunInfo& info = *records.info;
    if (info.model.layers > 0)
      out += fmt::format("A Llama of <b>{}</b> layer{}{}", info.model.layers, info.model.layers == 1 ? "" : "s",
                         info.model.width > 0 ? fmt::format(", width <b>{}</b>", info.model.width) : "");
    if (!out.empty() && !info.estimator.empty())
      out += fmt::format(", trained with the <b>{}</b> estimator{}", escape(info.estimator),
                         info.transform.empty() ? "" : fmt::format(", transform <b>{}</b>", escape(info.transform)));
    if (!out.empty() && !info.head.empty()) out += fmt::format(", head in <b>{}</b>", escape(info.head));
    if (!out.empty()) out += ".";
  }
  if (o.status == Outcome::Status::running && o.planned_steps > o.step)
    out += fmt::format(" So far <b>{}</b> of {} steps are done.", grouped(o.step), grouped(o.planned_steps));
  return out.empty() ? "" : "<p class=\"lede\">" + out + "</p>";
}

std::string alerts(const RunRecords& records, const Outcome& o) {
  std::string out;
  if (o.broken_step)
    out += fmt::format("<p class=\"alert\">The loss stopped being a finite number at step {}.</p>",
                       grouped(*o.broken_step));
  for (const std::string& note : records.notes) out += "<p class=\"alert\">" + escape(note) + "</p>";
  return out;
}

}  // namespace

std::string run_page(const RunRecords& records) {
  const Outcome o = outcome_of(records);
  const std::pair<const char*, std::string> sections[] = {
      {"Loss", loss_section(records)},           {"Optimizer", optimizer_section(records)},
      {"Bits", bits_section(records)},           {"Masks", masks_section(records)},
      {"Speed", speed_section(records, o)},
      {"Samples", samples_section(records)},     {"Size", sizes_section(records, o)},
      {"Settings", settings_section(records, o)}};
  PageFrame frame;
  frame.title = page_title(records, o);
  frame.header =
      fmt::format("<div class=\"eyebrow\"><span>lowbit training run</span><span class=\"pill {0}\">{1}</span></div>\n",
                  o.status == Outcome::Status::finished                   ? "finished"
                  : o.status == Outcome::Status::stopped || o.broken_step ? "stopped"
                                                                          : "",
                  status_text(o.status));
  frame.header += "<h1>" + headline(records) + "</h1>\n" + lede(records, o) + alerts(records, o) + tiles(records, o);
  frame.if_empty = "<section><p>Nothing has been recorded yet.</p></section>\n";
  frame.footer = fmt::format(
      "Written by {} from run.json and metrics.jsonl of the run folder. The page loads nothing from elsewhere.",
      records.info && !records.info->program.empty() ? escape(records.info->program) : "lowbit");
  return page_of(frame, sections);
}

std::filesystem::path write_run_report(const std::filesystem::path& run_folder) {
  const RunRecords records = read_run(run_folder);
  const std::filesystem::path path = run_folder / "report.html";
  write_file(path, run_page(records));
  return path;
}

}  // namespace lowbit::report
