#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lowbit/base/progress.h"
#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"

namespace lowbit::report {
namespace {

constexpr std::size_t kSampleBytes = 6000;  // of one sample; longer ones are cut
constexpr std::size_t kSamplesShown = 120;  // of a long run: the newest

std::string sample(const SampleRecord& s) {
  const bool cut = s.text.size() > kSampleBytes;
  std::size_t end = std::min(s.text.size(), kSampleBytes);
  while (cut && end > 0 && (s.text[end] & 0xC0) == 0x80) --end;  // not inside a character
  return fmt::format(
      "<figure class=\"sample\"><figcaption>step {}</figcaption><blockquote "
      "dir=\"auto\"><b>{}</b>{}{}</blockquote></figure>",
      grouped(s.step), escape(s.prompt), escape(s.text.substr(0, end)), cut ? " …" : "");
}

std::string code(const std::string& text) { return text.empty() ? "–" : escape(text); }

}  // namespace

std::string section(std::string_view id, std::string_view heading, const std::string& body) {
  if (body.empty()) return "";
  return fmt::format("<section id=\"{}\"><h2>{}</h2>{}</section>\n", id, escape(heading), body);
}

std::string figure(const LinePlot& plot, std::string_view remark) {
  return fmt::format("<figure class=\"card\"><figcaption>{}{}</figcaption>{}</figure>", escape(plot.title),
                     remark.empty() ? "" : " <span>" + escape(remark) + "</span>", svg(plot));
}

std::string pairs(const std::vector<std::pair<std::string, std::string>>& rows, std::string_view classes) {
  if (rows.empty()) return "";
  std::string html = fmt::format("<dl class=\"pairs{}{}\">", classes.empty() ? "" : " ", classes);
  for (const auto& [name, value] : rows) html += "<div><dt>" + escape(name) + "</dt><dd>" + value + "</dd></div>";
  return html + "</dl>";
}

std::string samples_section(const RunRecords& records) {
  const auto& samples = records.samples;
  if (samples.empty()) return "";
  std::string newest, earlier;
  const std::int64_t last = samples.back().step;
  const std::size_t first = samples.size() > kSamplesShown ? samples.size() - kSamplesShown : 0;
  for (std::size_t i = samples.size(); i-- > first;) {
    std::string& group = samples[i].step == last ? newest : earlier;
    group += sample(samples[i]);
  }
  std::string body = "<p>What the model wrote when it was asked to go on from the coloured words.</p>" + newest;
  if (!earlier.empty()) body += "<details><summary>Earlier in training</summary>" + earlier + "</details>";
  if (first > 0) body += fmt::format("<p class=\"note\">The {} oldest samples are in metrics.jsonl.</p>", first);
  return section("samples", "Samples", body);
}

std::string sizes_section(const RunRecords& records, const Outcome& outcome) {
  if (!records.info || outcome.stored_bytes <= 0) return "";
  const auto& s = records.info->sizes;
  const auto total = static_cast<double>(outcome.stored_bytes);
  BarPlot bars;
  bars.title = "Bytes as stored, by part";
  bars.width = 420;
  const std::pair<const char*, std::int64_t> parts[] = {{"Codes of the blocks", s.codes},
                                                        {"Their scales", s.scales},
                                                        {"Embedding", s.embedding},
                                                        {"Head", s.head},
                                                        {"Norms", s.norms}};
  std::int64_t named = 0;
  int colour = 0;
  for (const auto& [label, bytes] : parts) {
    named += bytes;
    const int own = colour++;
    if (bytes > 0)
      bars.bars.push_back(
          {label, static_cast<double>(bytes),
           human_bytes(static_cast<double>(bytes)) + " · " + percent(static_cast<double>(bytes) / total), own});
  }
  if (s.total > named && named > 0)
    bars.bars.push_back({"Other", static_cast<double>(s.total - named),
                         human_bytes(static_cast<double>(s.total - named)) + " · " +
                             percent(static_cast<double>(s.total - named) / total),
                         6});
  std::vector<std::pair<std::string, std::string>> rows = {
      {"Total", fmt::format("{} ({} bytes)", human_bytes(total), grouped(outcome.stored_bytes))}};
  if (std::isfinite(outcome.bits_per_block_weight))
    rows.emplace_back("Bits per weight in the blocks, scales included",
                      fmt::format("{:.3f}", outcome.bits_per_block_weight));
  if (std::isfinite(outcome.bits_per_parameter)) {
    rows.emplace_back("Bits per parameter of the whole model", fmt::format("{:.3f}", outcome.bits_per_parameter));
    rows.emplace_back("Next to float32",
                      fmt::format("{:.1f} times smaller than {}", 32 / outcome.bits_per_parameter,
                                  human_bytes(4 * static_cast<double>(records.info->model.parameters))));
  }
  return section("size", "Size as stored",
                 "<div class=\"sizes\"><div>" + svg(bars) + "</div>" + pairs(rows) + "</div>");
}

std::string settings_section(const RunRecords& records, const Outcome& outcome) {
  std::string body;
  const auto block = [&](const char* heading, const std::string& html) {
    if (!html.empty()) body += fmt::format("<h3 style=\"margin-top:1.8rem\">{}</h3>{}", heading, html);
  };
  std::vector<std::pair<std::string, std::string>> rows;
  const auto add = [&](const char* name, const std::string& html) {
    if (!html.empty()) rows.emplace_back(name, html);
  };
  const auto count = [](std::int64_t value) { return value > 0 ? grouped(value) : std::string(); };
  if (records.info) {
    const RunInfo& info = *records.info;
    add("Format", escape(info.format));
    add("Head and embedding", escape(info.head));
    add("Estimator", escape(info.estimator));
    add("Transform", escape(info.transform));
    add("Parameters", count(info.model.parameters));
    add("of those in the blocks", count(info.model.block_parameters));
    add("Layers", count(info.model.layers));
    add("Width", count(info.model.width));
    add("Heads", count(info.model.heads) + (info.model.kv_heads > 0 && info.model.kv_heads != info.model.heads
                                                ? fmt::format(", {} of keys and values", info.model.kv_heads)
                                                : ""));
    add("MLP width", count(info.model.mlp));
    add("Vocabulary", count(info.model.vocab));
    add("Sequence length", count(info.model.seq));
    add("Tokens per step", count(info.tokens_per_step));
    add("Steps planned", count(info.steps));
    block("Model", pairs(rows));
    rows.clear();
    add("Processor", escape(info.machine.cpu));
    add("Instruction set", escape(info.machine.isa));
    add("Threads", count(info.machine.threads));
    if (std::isfinite(info.machine.peak_gflops)) add("Measured peak", number(info.machine.peak_gflops, 3) + " GFLOP/s");
    if (info.predicted.memory_bytes > 0)
      add("Memory, predicted", human_bytes(static_cast<double>(info.predicted.memory_bytes)));
    if (std::isfinite(info.predicted.seconds))
      add("Time, predicted", human_time(info.predicted.seconds) +
                                 (std::isfinite(outcome.seconds) ? ", took " + human_time(outcome.seconds) : ""));
    add("Program", escape(info.program));
    block("Machine", pairs(rows));
    rows.clear();
    for (const auto& [name, value] : info.flags)
      rows.emplace_back(name.starts_with("-") ? name : "--" + name, code(value));
    block("Every flag", pairs(rows, "flags"));
  }
  rows.clear();
  for (const EventRecord& e : records.events)
    rows.emplace_back(fmt::format("Step {}", grouped(e.step)),
                      escape(e.what) + (e.detail.empty() ? "" : ": " + escape(e.detail)));
  if (rows.size() > 200) rows.erase(rows.begin(), rows.end() - 200);
  block("What happened", pairs(rows));
  return section("settings", "Settings", body);
}

}  // namespace lowbit::report
