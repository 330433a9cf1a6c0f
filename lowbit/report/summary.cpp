#include "lowbit/report/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"

namespace lowbit::report {
namespace {

double median(std::vector<double> values) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.empty()) return kUnknown;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::string shell_word(const std::string& word) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+,-";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string flag(const RunRecords& records, std::string_view name) {
  if (!records.info) return "";
  for (const auto& [key, value] : records.info->flags)
    if (key == name || (key.starts_with("--") && key.substr(2) == name)) return value;
  return "";
}

std::string in_brackets(const std::optional<Interval>& interval, int decimals) {
  return interval ? fmt::format(" [{:.{}f}, {:.{}f}]", interval->low, decimals, interval->high, decimals) : "";
}

// The newest folder checkpoints/step-N, or nothing.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& run_folder) {
  std::optional<std::filesystem::path> newest;
  long long best = -1;
  std::error_code error;
  for (std::filesystem::directory_iterator it(run_folder / "checkpoints", error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with("step-") || name.size() > 20 ||
        name.find_first_not_of("0123456789", 5) != std::string::npos || name.size() < 6)
      continue;
    if (const long long step = std::stoll(name.substr(5)); step > best) {
      best = step;
      newest = it->path();
    }
  }
  return newest;
}

}  // namespace

Outcome outcome_of(const RunRecords& records) {
  Outcome out;
  if (records.info) out.planned_steps = records.info->steps;
  if (!records.steps.empty()) {
    const StepRecord& last = records.steps.back();
    out.step = last.step;
    out.tokens = last.tokens;
    out.seconds = last.seconds;
    const std::size_t tail =
        std::min(records.steps.size(), std::clamp<std::size_t>(records.steps.size() / 20, 10, 100));
    double sum = 0;
    for (std::size_t i = records.steps.size() - tail; i < records.steps.size(); ++i) sum += records.steps[i].loss;
    out.train_loss = sum / static_cast<double>(tail);
    out.train_loss_steps = static_cast<int>(tail);
    std::vector<double> rates, shares;
    for (const StepRecord& s : records.steps) {
      rates.push_back(s.tok_s);
      shares.push_back(s.peak_share);
      if (!std::isfinite(s.loss) && !out.broken_step) out.broken_step = s.step;
    }
    out.tok_s = median(std::move(rates));
    out.peak_share = median(std::move(shares));
  }
  if (!records.evals.empty()) out.eval = records.evals.back();
  const std::string last_event = records.events.empty() ? "" : records.events.back().what;
  using Status = Outcome::Status;
  out.status = last_event == "finished"                                 ? Status::finished
               : last_event == "interrupted"                            ? Status::interrupted
               : last_event == "stopped"                                ? Status::stopped
               : out.planned_steps > 0 && out.step >= out.planned_steps ? Status::finished
                                                                        : Status::running;
  if (records.info) {
    const auto& s = records.info->sizes;
    const auto& m = records.info->model;
    out.stored_bytes = s.total > 0 ? s.total : s.codes + s.scales + s.head + s.embedding + s.norms;
    if (m.block_parameters > 0 && s.codes > 0)
      out.bits_per_block_weight = 8 * static_cast<double>(s.codes + s.scales) / static_cast<double>(m.block_parameters);
    if (m.parameters > 0 && out.stored_bytes > 0)
      out.bits_per_parameter = 8 * static_cast<double>(out.stored_bytes) / static_cast<double>(m.parameters);
  }
  return out;
}

std::string status_text(Outcome::Status status) {
  switch (status) {
    case Outcome::Status::finished:
      return "finished";
    case Outcome::Status::interrupted:
      return "interrupted";
    case Outcome::Status::stopped:
      return "stopped";
    case Outcome::Status::running:
      break;
  }
  return "in progress";
}

std::string closing_summary(const RunRecords& records, const std::filesystem::path& run_folder) {
  const Outcome o = outcome_of(records);
  std::string out;
  const auto row = [&](std::string_view name, const std::string& value) {
    out += fmt::format("  {:<11} {}\n", name, value);
  };
  const auto join = [](std::string* list, const std::string& item) {
    if (!item.empty()) *list += (list->empty() ? "" : ", ") + item;
  };

  out += fmt::format("Training {}", o.status == Outcome::Status::running ? "has got this far" : status_text(o.status));
  if (o.planned_steps > 0 && o.step < o.planned_steps) out += fmt::format(" at step {} of {}", o.step, o.planned_steps);
  out += "\n\n";
  if (records.info) {
    const RunInfo& info = *records.info;
    std::string model = info.format.empty() ? "format not known" : info.format;
    if (const std::string layers = flag(records, "layer-formats"); !layers.empty()) model += " with " + layers;
    if (info.model.parameters > 0)
      join(&model, human_count(static_cast<double>(info.model.parameters)) + " parameters");
    if (info.model.layers > 0)
      join(&model, fmt::format("{} of width {}", counted(info.model.layers, "layer"), info.model.width));
    row("model", model);
    std::string how;
    if (!info.estimator.empty()) join(&how, "estimator " + info.estimator);
    if (!info.transform.empty()) join(&how, "transform " + info.transform);
    if (!info.head.empty()) join(&how, "head " + info.head);
    if (!how.empty()) row("", how);
  }
  if (o.step > 0) {
    std::string work = counted(o.step, "step");
    if (o.tokens > 0) join(&work, human_count(static_cast<double>(o.tokens)) + " tokens");
    if (std::isfinite(o.seconds)) work += " in " + human_time(o.seconds);
    row("trained", work);
    if (std::isfinite(o.tok_s)) {
      std::string speed = human_count(o.tok_s) + " tokens/s";
      if (std::isfinite(o.peak_share))
        join(&speed, fmt::format("{:.0f} % of the machine's measured peak", 100 * o.peak_share));
      row("speed", speed);
    }
  }
  if (o.broken_step) {
    row("loss", fmt::format("not a finite number from step {} on", *o.broken_step));
  } else if (std::isfinite(o.train_loss)) {
    row("loss",
        fmt::format("{:.4f} nats per token in training (mean of the last {})", o.train_loss,
                    counted(o.train_loss_steps, "step")));
  }
  if (o.eval) {
    const EvalRecord& e = *o.eval;
    if (std::isfinite(e.nats_per_token))
      row("held out", fmt::format("{:.4f} nats per token{} at step {}", e.nats_per_token,
                                  in_brackets(e.nats_per_token_interval, 4), e.step));
    if (e.bits_per_byte)
      row("", fmt::format("{:.4f} bits per byte{}", *e.bits_per_byte, in_brackets(e.bits_per_byte_interval, 4)));
    std::string note;
    if (e.nats_per_token_interval)
      note = fmt::format("[95 % confidence intervals: bootstrap over the held-out text, {} tokens]",
                         human_count(static_cast<double>(e.tokens)));
    // The last evaluation reads more text than the earlier ones, which is no learning.
    if (e.first && std::isfinite(e.first->nats_per_token))
      note += fmt::format("{}{:.4f} nats per token over the {} of the earlier ones", note.empty() ? "" : "; ",
                          e.first->nats_per_token, human_count(static_cast<double>(e.first->tokens)));
    if (!note.empty()) row("", note);
  }
  if (o.stored_bytes > 0) {
    std::string size = human_bytes(static_cast<double>(o.stored_bytes)) + " as stored";
    if (std::isfinite(o.bits_per_block_weight))
      join(&size, fmt::format("{:.2f} bits per weight in the blocks", o.bits_per_block_weight));
    if (std::isfinite(o.bits_per_parameter))
      join(&size, fmt::format("{:.2f} over all parameters", o.bits_per_parameter));
    row("size", size);
  }

  if (!records.bits.empty()) {
    const BitsRecord& b = records.bits.back();
    row("bits", fmt::format("{:.3f} of {:.3f} per weight allotted at step {}", b.bits, b.budget, b.step));
    if (!b.uniform.empty())
      row("", fmt::format("predicted {:.4f} nats per token below uniform {} ({:.3f} bits)", b.uniform_cost - b.cost,
                          b.uniform, b.uniform_bits));
  }

  const std::string folder = run_folder.string();
  out += "\n";
  const auto checkpoint = newest_checkpoint(run_folder);
  if (checkpoint) row("checkpoint", checkpoint->string());
  row("report", (run_folder / "report.html").string());
  row("metrics", (run_folder / "metrics.jsonl").string());

  const std::string data = flag(records, "data");
  const std::string data_words = data.empty() ? "" : " --data " + shell_word(data);
  std::string trimmed = folder;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  out += "\nNext:\n";
  if (o.status == Outcome::Status::interrupted || o.status == Outcome::Status::stopped)
    out += fmt::format("  lowbit train{} --out {} --resume\n", data_words, shell_word(folder));
  if (checkpoint) {
    const std::string prompt = records.samples.empty() ? "Once upon a time" : records.samples.back().prompt;
    out += fmt::format("  lowbit run --model {} --prompt {}\n", shell_word(folder),
                       shell_word(prompt.empty() ? "Once upon a time" : prompt));
    if (!data.empty()) out += fmt::format("  lowbit eval --model {}{}\n", shell_word(folder), data_words);
    out += fmt::format("  lowbit pack --model {} --out {}\n", shell_word(folder), shell_word(trimmed + "-packed"));
  }
  if (out.ends_with("Next:\n")) out.resize(out.size() - std::string_view("\nNext:\n").size());
  return out;
}

}  // namespace lowbit::report
