#include "lowbit/study/runs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/laws/bits.h"

namespace lowbit::study {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMaxCsvBytes = std::size_t{64} << 20;

/// A flag that sets a run of a format apart, with the value that it has in the usual run, and what a name says of
/// another.
struct Apart {
  const char *flag, *usual;
  enum class Word { value, flag, both } word;
  bool of_codes;  ///< without a meaning in full precision
};
constexpr Apart kApart[] = {
    {"bits-budget", "0", Apart::Word::both, true},
    {"layer-formats", "", Apart::Word::value, false},
    {"scale", "rms", Apart::Word::value, true},          {"scale-group", "0", Apart::Word::both, true},
    {"grid", "uniform", Apart::Word::value, true},
    {"fp4-threshold", "paper", Apart::Word::both, true}, {"sparse-scale", "dense", Apart::Word::value, true},
    {"backward", "bf16", Apart::Word::both, true},       {"cage", "0", Apart::Word::both, true},
    {"damp", "0", Apart::Word::both, true},              {"qk-norm", "false", Apart::Word::flag, false},
    {"float-start", "0", Apart::Word::both, true},       {"gain-lr", "0", Apart::Word::both, false},
    {"share-steps", "false", Apart::Word::flag, true},   {"distill", "", Apart::Word::flag, false},
};

const report::EvalRecord* last_eval(const report::RunRecords& records) {
  if (!records.info || records.info->steps < 1 || records.evals.empty() || records.steps.empty()) return nullptr;
  if (records.steps.back().step != records.info->steps) return nullptr;
  const report::EvalRecord& eval = records.evals.back();
  return eval.step == records.info->steps && std::isfinite(eval.nats_per_token) ? &eval : nullptr;
}

}  // namespace

std::string format_name(const Run& run, const std::vector<std::string>& labels) {
  const report::RunInfo& info = *run.records.info;
  std::string name = info.format;
  const bool coded = !laws::is_full_precision(info.format);
  const std::string usual_estimator = run.flag("scale") == "absmax" ? "ste" : "trust";
  if (coded && !info.estimator.empty() && info.estimator != usual_estimator) name += " " + info.estimator;
  if (coded && !info.transform.empty() &&
      info.transform != (info.format.ends_with("a16") ? "hadamard-weights" : "hadamard"))
    name += " " + (info.transform == "none" ? "no-rotation" : info.transform);
  const auto add = [&](const std::string& flag, const std::string& value) {
    if (!value.empty()) name += fmt::format(" {}={}", flag, value);
  };
  for (const Apart& apart : kApart) {
    const std::string value = run.flag(apart.flag);
    const bool labelled = std::find(labels.begin(), labels.end(), apart.flag) != labels.end();
    if (value.empty() || value == apart.usual || labelled || (apart.of_codes && !coded)) continue;
    if (apart.word == Apart::Word::both)
      add(apart.flag, value);
    else
      name += std::string(" ") + (apart.word == Apart::Word::flag ? apart.flag : value.c_str());
  }
  for (const std::string& label : labels) add(label, run.flag(label));
  return name;
}

std::string Run::flag(std::string_view name) const {
  if (records.info)
    for (const auto& [flag, value] : records.info->flags)
      if (flag == name) return value;
  return {};
}

bool is_done(const report::RunRecords& records) { return last_eval(records) != nullptr; }

Run read_run(const fs::path& folder, const std::vector<std::string>& labels) {
  Run run;
  run.folder = folder;
  run.records = report::read_run(folder);
  if (!run.records.info)
    fail_input("run folder {} has no run.json that can be read, so its model and format are not known; leave it out",
               folder.string());
  const report::RunInfo& info = *run.records.info;
  const auto& m = info.model;
  if (info.format.empty() || m.block_parameters < 1 || m.layers < 1 || m.width < 1 || info.steps < 1 ||
      info.tokens_per_step < 1)
    fail_input(
        "{}/run.json, written by '{}', lacks the format, the model's shape or the steps; it is of another version: "
        "leave it out",
        folder.string(), info.program);
  run.outcome = report::outcome_of(run.records);
  // The weights of the blocks and all norms: two a block and the last.
  run.parameters = static_cast<double>(m.block_parameters + m.width * (2 * m.layers + 1));
  run.format = format_name(run, labels);
  const std::int64_t step = run.records.steps.empty() ? 0 : run.records.steps.back().step;
  if (const report::EvalRecord* eval = last_eval(run.records)) {
    run.eval = *eval;
    run.tokens = static_cast<double>(eval->step) * static_cast<double>(info.tokens_per_step);
  } else if (step < info.steps) {
    run.unfinished = fmt::format("is at step {} of {}", step, info.steps);
  } else {
    run.unfinished = "has no held-out loss of its last step";
  }
  return run;
}

std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find(' ', begin), name.size());
    words.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::string take_out_shared(std::vector<Run>& runs, const std::vector<std::string>& labels) {
  const auto base = std::find_if(runs.begin(), runs.end(),
                                 [](const Run& run) { return laws::is_full_precision(words_of(run.format)[0]); });
  if (base == runs.end()) return "";
  std::vector<std::string> shared = words_of(base->format);
  shared.erase(shared.begin());
  std::erase_if(shared, [&](const std::string& word) {
    return std::any_of(labels.begin(), labels.end(),
                       [&](const std::string& label) { return word.starts_with(label + "="); }) ||
           std::any_of(runs.begin(), runs.end(), [&](const Run& run) {
             const auto words = words_of(run.format);
             return std::find(words.begin() + 1, words.end(), word) == words.end();
           });
  });
  if (shared.empty()) return "";
  for (Run& run : runs) {
    auto words = words_of(run.format);
    std::erase_if(
        words, [&](const std::string& word) { return std::find(shared.begin(), shared.end(), word) != shared.end(); });
    run.format = fmt::format("{}", fmt::join(words, " "));
  }
  return fmt::format("All runs have {}, which their names leave out.", fmt::join(shared, ", "));
}

std::vector<fs::path> run_folders(const std::vector<fs::path>& paths, std::vector<std::string>* notes) {
  std::vector<fs::path> found;
  for (const fs::path& path : paths) {
    std::error_code error;
    if (!fs::exists(path, error)) fail_input("there is no {}; name run folders, or a folder of them", path.string());
    if (!fs::is_directory(path, error))
      fail_input("{} is a file; name run folders, or a folder of them", path.string());
    if (files::is_run_folder(path)) {
      found.push_back(path);
      continue;
    }
    std::vector<fs::path> inside;
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
      if (it->is_directory(error) && files::is_run_folder(it->path())) inside.push_back(it->path());
    if (inside.empty()) fail_input("{} is no run folder and holds none", path.string());
    std::sort(inside.begin(), inside.end());
    // Cells that were stopped before they wrote anything.
    std::erase_if(inside, [&](const fs::path& folder) {
      std::error_code ignored;
      if (fs::exists(folder / "run.json", ignored)) return false;
      notes->push_back(fmt::format("{} has no run.json: left out.", folder.string()));
      return true;
    });
    found.insert(found.end(), inside.begin(), inside.end());
  }
  return found;
}

laws::Points points_of(const std::vector<Run>& runs) {
  laws::Points points;
  for (const Run& run : runs) {
    if (!run.eval) {
      points.notes.push_back(fmt::format("{} {}: left out.", run.folder.string(), run.unfinished));
      continue;
    }
    laws::Point point;
    point.n = run.parameters;
    point.d = run.tokens;
    point.loss = run.eval->nats_per_token;
    point.format = points.format(run.format);
    point.where = run.folder.string();
    points.points.push_back(std::move(point));
  }
  return points;
}

laws::Points points_of(const std::vector<fs::path>& paths, const std::vector<std::string>& labels) {
  laws::Points all;
  const auto add = [&](const laws::Points& some) {
    for (laws::Point point : some.points) {
      point.format = all.format(some.formats[point.format]);
      all.points.push_back(std::move(point));
    }
    all.notes.insert(all.notes.end(), some.notes.begin(), some.notes.end());
  };
  // Names of runs depend on what they share, so folders are read before CSV files.
  std::vector<Run> runs;
  std::vector<fs::path> tables;
  for (const fs::path& path : paths) {
    std::error_code error;
    if (fs::is_regular_file(path, error))
      tables.push_back(path);
    else
      for (const fs::path& folder : run_folders({path}, &all.notes)) runs.push_back(read_run(folder, labels));
  }
  // A CSV file does not say what its runs share.
  if (const std::string shared = tables.empty() ? take_out_shared(runs, labels) : ""; !shared.empty())
    all.notes.push_back(shared);
  add(points_of(runs));
  for (const fs::path& path : tables) add(laws::read_csv(read_file(path, kMaxCsvBytes), path.string()));
  if (all.points.empty())
    fail_input("there is no finished run to fit{}", all.notes.empty() ? "" : ": " + all.notes.front());
  return all;
}

}  // namespace lowbit::study
