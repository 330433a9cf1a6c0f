#include "lowbit/study/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <thread>

#include "lowbit/base/error.h"
#include "lowbit/base/file_lock.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/files/checkpoint.h"
#include "lowbit/files/data_identity.h"
#include "lowbit/files/json.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/machine/memory.h"
#include "lowbit/study/child.h"

namespace lowbit::study {
namespace {

namespace fs = std::filesystem;
using State = CellState::State;
using Clock = std::chrono::steady_clock;

/// How long a cell may be held by a run of a sweep that died, which is still saving.
constexpr auto kHeldAtMost = std::chrono::seconds(60);
constexpr auto kLookEvery = std::chrono::milliseconds(50);
constexpr auto kTellEvery = std::chrono::seconds(1);

std::string without_name(std::string line) { return line.starts_with("lowbit: ") ? line.substr(8) : line; }

class Sweep {
 public:
  Sweep(const Plan& plan, const SweepOptions& options, const Watch& watch)
      : plan_(plan), options_(options), watch_(watch), lock_(made(options.out) / "lock") {
    if (!lock_.held())
      fail_usage("another sweep runs in {}; wait for it, or name another folder with --out", options_.out.string());
    remove_temporaries(options_.out);
    make_folder(options_.out / "logs");
    find_cells();
  }

  std::vector<CellState> go() {
    look_into_cells();
    require_room();
    if (options_.dry_run) return std::move(cells_);
    write_results();
    run();
    return std::move(cells_);
  }

 private:
  static const fs::path& made(const fs::path& folder) {
    std::error_code error;
    if (files::is_run_folder(folder))
      fail_input("{} is a run folder; name another for the sweep with --out", folder.string());
    if (fs::exists(folder, error) && !fs::is_directory(folder, error))
      fail_input("{} is a file; name a folder with --out", folder.string());
    make_folder(folder);
    return folder;
  }

  /// A cell's folder is known by its id: its readable part may change when a grid grows.
  void find_cells() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(options_.out)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    for (const Cell& cell : plan_.cells) {
      CellState state;
      state.cell = cell;
      std::string name = cell.name;
      for (const std::string& other : names)
        if (other.ends_with("-" + cell.id)) name = other;
      state.folder = options_.out / name;
      state.log = options_.out / "logs" / (name + ".log");
      std::error_code error;
      if (fs::exists(state.folder / "run.json", error)) {
        state.begun = true;
        require_same_data(state);
        take_result(state);
      }
      cells_.push_back(std::move(state));
    }
  }

  /// A cell that was begun holds a result of the data as it was then. Where the same path now holds other data, results
  /// of two texts would stand in one table.
  void require_same_data(const CellState& state) {
    const auto text = read_file(state.folder / "run.json");
    const auto info = report::parse_run_info(text);
    if (!info || info->data.empty()) return;
    const auto flag = [&](std::string_view name) {
      const auto given = std::find_if(state.cell.flags.begin(), state.cell.flags.end(),
                                      [&](const auto& f) { return f.first == name; });
      return given == state.cell.flags.end() ? std::string() : given->second;
    };
    const files::DataPaths paths{flag("data"), flag("batches"), flag("eval-batches"), flag("distill")};
    const std::string key = paths.data.string() + "\n" + paths.batches.string() + "\n" + paths.eval_batches.string() +
                            "\n" + paths.distill.string();
    auto known = identities_.find(key);
    if (known == identities_.end()) known = identities_.emplace(key, files::identity_of(paths)).first;
    const std::string part = files::other_data(info->data, known->second);
    if (part.empty()) return;
    fail_input(
        "the cell {} was trained on other data than its flags name now ({} differs); put that data back, or name "
        "another "
        "folder with --out",
        state.cell.label, part);
  }

  /// Takes the result of a run that came to its end. returns why it has none.
  std::string take_result(CellState& state) {
    Run run = read_run(state.folder);
    if (!run.eval) return run.unfinished;
    state.state = State::done;
    state.steps = state.step = run.records.info->steps;
    state.tokens_per_step = run.records.info->tokens_per_step;
    state.parameters = run.records.info->model.parameters;
    state.loss = run.eval->nats_per_token;
    state.seconds = run.outcome.seconds;
    state.tok_s = run.outcome.tok_s;
    // Steps and masks of hundreds of runs are not kept.
    run.records.steps.clear();
    run.records.masks.clear();
    run.records.samples.clear();
    state.run = std::move(run);
    return {};
  }

  std::vector<std::string> arguments(const CellState& state) const {
    std::vector<std::string> words{options_.program.string(), "train",     "--out",
                                   state.folder.string(),     "--threads", fmt::format("{}", options_.threads_each)};
    return words;
  }
  static void add_flags(const CellState& state, std::vector<std::string>* words) {
    for (const auto& [name, value] : state.cell.flags) {
      words->push_back(value == "true" ? "--" + name : "--" + name + "=" + value);
    }
  }

  /// Asks training what each cell would be. Nothing is made but logs, which go again.
  void look_into_cells() {
    std::vector<CellState*> left;
    for (CellState& state : cells_)
      if (state.state == State::waiting) left.push_back(&state);
    std::reverse(left.begin(), left.end());
    std::vector<std::pair<CellState*, std::unique_ptr<Child>>> running;
    std::vector<const CellState*> refused;
    const auto file = [&](const CellState& state) { return options_.out / "logs" / (state.cell.id + ".check"); };
    while (!left.empty() || !running.empty()) {
      while (!left.empty() && running.size() < static_cast<std::size_t>(options_.jobs)) {
        CellState* state = left.back();
        left.pop_back();
        auto words = arguments(*state);
        words.insert(words.end(), {"--dry-run", "--json"});
        add_flags(*state, &words);
        std::error_code ignored;
        fs::remove(file(*state), ignored);
        running.emplace_back(state, std::make_unique<Child>(words, file(*state)));
      }
      if (interrupted())
        for (auto& one : running) one.second->kill_now();
      check_interrupt("stopped while looking into the cells; nothing was started");
      std::this_thread::sleep_for(kLookEvery / 5);
      std::erase_if(running, [&](auto& one) {
        const auto code = one.second->ended();
        if (!code) return false;
        take_outline(*one.first, *code, last_line(file(*one.first)));
        if (!one.first->message.empty()) refused.push_back(one.first);
        std::error_code ignored;
        fs::remove(file(*one.first), ignored);
        return true;
      });
    }
    if (refused.empty()) return;
    std::sort(refused.begin(), refused.end());  // into the plan's order: all stand in one array
    const CellState& first = *refused.front();
    fail_usage("{}: the cell {} cannot be run: {}{}; nothing was started", first.cell.place, first.cell.label,
               first.message, refused.size() > 1 ? fmt::format(" ({} cells in all cannot)", refused.size()) : "");
  }

  void take_outline(CellState& state, int code, const std::string& line) const {
    if (code != 0) {
      state.message = line.empty() ? fmt::format("{} ended with code {}", options_.program.filename().string(), code)
                                   : without_name(line);
      return;
    }
    const files::Json json = files::parse_json(line, "the outline of " + state.cell.name);
    const auto whole = [&](const char* key) { return files::required<std::int64_t>(json, key, "the outline"); };
    state.steps = whole("steps");
    state.tokens_per_step = whole("tokens_per_step");
    state.parameters = whole("parameters");
    state.memory_bytes = whole("memory_bytes");
    state.disk_bytes = whole("disk_bytes");
    state.foretold_seconds = files::required<double>(json, "seconds", "the outline");
    if (!files::required<bool>(json, "held_out", "the outline"))
      state.message = "its data has no held-out text, so it would come to no result";
  }

  /// The largest cells may come together.
  void require_room() const {
    std::vector<std::int64_t> memory;
    std::int64_t disk = 0;
    for (const CellState& state : cells_)
      if (state.state == State::waiting) {
        memory.push_back(state.memory_bytes);
        // What a run that was begun has on disk is no more to be written.
        const auto there = state.begun ? static_cast<std::int64_t>(files::checkpoint_bytes(state.folder)) : 0;
        disk += std::max<std::int64_t>(0, state.disk_bytes - there);
      }
    std::sort(memory.rbegin(), memory.rend());
    std::int64_t together = 0;
    for (std::size_t i = 0; i < memory.size() && i < static_cast<std::size_t>(options_.jobs); ++i)
      together += memory[i];
    const std::int64_t available = available_memory();
    const auto bytes = [](std::int64_t n) { return human_bytes(static_cast<double>(n)); };
    if (together > available)
      fail_input("{} runs at once are predicted to need {} of memory, but {} are available; lower --jobs",
                 options_.jobs, bytes(together), bytes(available));
    std::error_code error;
    const fs::space_info space = fs::space(options_.out, error);
    if (!error && static_cast<std::uintmax_t>(disk) > space.available)
      fail_input(
          "the cells' checkpoints are predicted to need {}, but {} are free in {}; lower keep, or use another disk",
          bytes(disk), bytes(static_cast<std::int64_t>(space.available)), options_.out.string());
  }

  struct Running {
    CellState* state;
    std::unique_ptr<Child> child;
  };

  void run() {
    std::vector<Running> running;
    bool asked = false;
    auto told = Clock::now();
    Clock::time_point held_since{};
    for (;;) {
      if (interrupted() && !asked) {
        asked = true;
        for (Running& one : running) one.child->interrupt();
      }
      if (!asked) held_since = fill(running, held_since);
      bool changed = false;
      std::erase_if(running, [&](Running& one) {
        const auto code = one.child->ended();
        if (!code) return false;
        finish(*one.state, *code, asked);
        changed = true;
        return true;
      });
      if (running.empty() && (asked || !any_waiting())) return;
      if (Clock::now() - told > kTellEvery) {
        told = Clock::now();
        for (Running& one : running) look(*one.state);
        watch_(cells_, nullptr);
      }
      if (!changed) std::this_thread::sleep_for(kLookEvery);
    }
  }

  bool any_waiting() const {
    return std::any_of(cells_.begin(), cells_.end(), [](const CellState& c) { return c.state == State::waiting; });
  }

  /// Starts waiting cells while there is room; those that a dying run still holds are passed over for a while. returns
  /// since when nothing but such cells is left.
  Clock::time_point fill(std::vector<Running>& running, Clock::time_point held_since) {
    for (CellState& state : cells_) {
      if (running.size() >= static_cast<std::size_t>(options_.jobs)) return {};
      if (state.state != State::waiting || is_locked(state.folder / "lock")) continue;
      auto words = arguments(state);
      // What was begun has its flags in its run.json; it may also be that it was killed before it wrote one.
      std::error_code error;
      if (fs::exists(state.folder / "run.json", error))
        words.emplace_back("--resume");
      else
        add_flags(state, &words);
      state.state = State::running;
      running.push_back({&state, std::make_unique<Child>(words, state.log)});
      watch_(cells_, &state);
    }
    if (!running.empty() || !any_waiting()) return {};
    if (held_since == Clock::time_point{}) return Clock::now();
    if (Clock::now() - held_since > kHeldAtMost)
      for (CellState& state : cells_)
        if (state.state == State::waiting) {
          state.state = State::failed;
          state.message = "another process trains in its folder";
          watch_(cells_, &state);
        }
    return held_since;
  }

  void look(CellState& state) const {
    report::RunRecords records;
    report::parse_metrics(last_lines(state.folder / "metrics.jsonl"), &records);
    if (records.steps.empty()) return;
    const report::StepRecord& last = records.steps.back();
    state.step = last.step;
    state.loss = last.loss;
    state.tok_s = last.tok_s;
    state.seconds = last.seconds;
  }

  void finish(CellState& state, int code, bool asked) {
    look(state);
    try {
      if (code == 0) {
        state.message = take_result(state);
        if (state.state != State::done)
          state.state = State::failed, state.message = "it ended well, but " + state.message;
      } else if (code == 130 || (asked && code > 128)) {
        state.state = State::stopped;
        state.message = fmt::format("stopped at step {}", state.step);
        if (!asked) state.state = State::failed, state.message += " by someone else";
      } else {
        state.state = State::failed;
        state.message =
            code > 128 ? fmt::format("killed by signal {}", code - 128) : without_name(last_line(state.log));
      }
    } catch (const Error& error) {
      state.state = State::failed;
      state.message = error.what();
    }
    if (state.state == State::done) write_results();
    watch_(cells_, &state);
  }

  void write_results() const { write_file(options_.out / "results.csv", results_csv(plan_, cells_)); }

  const Plan& plan_;
  const SweepOptions& options_;
  const Watch& watch_;
  FileLock lock_;
  std::map<std::string, files::DataIdentity> identities_;
  std::vector<CellState> cells_;
};

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : c == '\n' ? std::string(" ") : std::string(1, c);
  return out + '"';
}

}  // namespace

std::string_view name_of(State state) {
  switch (state) {
    case State::waiting:
      return "waiting";
    case State::running:
      return "running";
    case State::done:
      return "done";
    case State::failed:
      return "failed";
    case State::stopped:
      return "stopped";
  }
  return "";
}

std::string results_csv(const Plan& plan, const std::vector<CellState>& cells) {
  std::vector<std::string> flags;
  for (const std::string& flag : plan.varied)
    if (flag != "format" && flag != "seed") flags.push_back(flag);
  std::string out = "N,D,format,seed";
  for (const std::string& flag : flags) out += "," + flag;
  out += ",loss,loss_low,loss_high,bits_per_byte,seconds,stored_bytes,run\n";
  const auto number = [](double value) { return std::isfinite(value) ? fmt::format("{}", value) : std::string(); };
  for (const CellState& state : cells) {
    if (state.state != State::done) continue;
    const Run& run = *state.run;
    out += fmt::format("{:.0f},{:.0f},{},{}", run.parameters, run.tokens, quoted(run.format), quoted(run.flag("seed")));
    for (const std::string& flag : flags) {
      const auto given = std::find_if(state.cell.flags.begin(), state.cell.flags.end(),
                                      [&](const auto& f) { return f.first == flag; });
      out += "," + quoted(given != state.cell.flags.end() ? given->second : run.flag(flag));
    }
    const report::Interval interval = run.eval->nats_per_token_interval.value_or(report::Interval{});
    out += fmt::format(",{},{},{},{},{},{},{}\n", number(run.eval->nats_per_token), number(interval.low),
                       number(interval.high), run.eval->bits_per_byte ? number(*run.eval->bits_per_byte) : "",
                       number(run.outcome.seconds), run.outcome.stored_bytes, quoted(run.folder.filename().string()));
  }
  return out;
}

std::vector<CellState> sweep(const Plan& plan, const SweepOptions& options, const Watch& watch) {
  return Sweep(plan, options, watch).go();
}

}  // namespace lowbit::study
