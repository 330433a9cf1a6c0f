#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/executor.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"
#include "lowbit/files/json.h"
#include "lowbit/study/sweep.h"
#include "lowbit/study/sweep_table.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;
using files::Json;
using study::CellState;

struct SweepFlags {
  fs::path config, out;
  int jobs = 0, threads_each = 1;
  bool dry_run = false, json = false;
};

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json json_of(const std::vector<CellState>& cells) {
  Json list = Json::array();
  for (const CellState& c : cells) {
    Json flags = Json::object();
    for (const auto& [name, value] : c.cell.flags) flags[name] = value;
    Json one{
        {"name", c.cell.name}, {"state", study::name_of(c.state)}, {"folder", c.folder.string()}, {"flags", flags}};
    one["parameters"] = c.parameters;
    one["steps"] = c.steps;
    one["step"] = c.step;
    if (c.state == CellState::State::done) {
      one["N"] = c.run->parameters;
      one["D"] = c.run->tokens;
      one["format"] = c.run->format;
      one["loss"] = c.loss;
      one["seconds"] = number(c.seconds);
    } else {
      one["foretold_seconds"] = number(c.foretold_seconds);
      one["memory_bytes"] = c.memory_bytes;
    }
    if (!c.message.empty()) one["message"] = c.message;
    list.push_back(std::move(one));
  }
  return Json{{"cells", list}};
}

void print_outline(const std::vector<CellState>& cells, int jobs) {
  std::size_t width = 4, done = 0;
  for (const CellState& c : cells) width = std::max(width, c.cell.name.size());
  fmt::print("{:<{}}  {:>10}  {:>8}  {:>9}  {}\n", "cell", width, "parameters", "steps", "memory", "time");
  for (const CellState& c : cells) {
    const bool is_done = c.state == CellState::State::done;
    done += is_done;
    fmt::print("{:<{}}  {:>10}  {:>8}  {:>9}  {}\n", c.cell.name, width, human_count(static_cast<double>(c.parameters)),
               c.steps, is_done ? "" : human_bytes(static_cast<double>(c.memory_bytes)),
               is_done ? "done" : (c.begun ? "started; of " : "about ") + human_time(c.foretold_seconds));
  }
  const double left = study::seconds_left(cells, jobs);
  fmt::print("{}, {} done", counted(cells.size(), "cell"), done);
  if (std::isfinite(left) && left > 0)
    fmt::print("; predicted time {} with {} at a time", human_time(left), jobs);
  fmt::print("\n");
}

/// Exit code 130 or 1, with a line that says what is left.
void end(const std::vector<CellState>& cells, const SweepFlags& f) {
  std::size_t done = 0, failed = 0;
  const CellState* first = nullptr;
  for (const CellState& c : cells) {
    done += c.state == CellState::State::done;
    failed += c.state == CellState::State::failed;
    if (c.state == CellState::State::failed && !first) first = &c;
  }
  if (interrupted())
    throw Interrupted(fmt::format(
        "stopped with {} of {} cells done, the others saved; continue with: lowbit sweep --config {} --out {}", done,
        cells.size(), f.config.string(), f.out.string()));
  if (first)
    fail("{} of {} cells failed; the first is {}: {} (its output: {}); repeat the command to continue", failed,
         cells.size(), first->cell.name, first->message, first->log.string());
}

}  // namespace

void add_sweep(CLI::App& verb) {
  auto f = std::make_shared<SweepFlags>();
  add_option(
      verb, "--config", f->config,
      "TOML file: [fixed] holds flags of train, [grid] lists whose combinations are trained, [[cells]] further runs")
      ->required()
      ->type_name("FILE");
  add_option(verb, "--out", f->out, "folder for the runs, results.csv and logs; an interrupted sweep continues there")
      ->required()
      ->type_name("DIR");
  add_option(verb, "--jobs", f->jobs, {1, kMostThreads}, "runs at a time")
      ->default_str("as many as fit the processors granted");
  add_option(verb, "--threads-each", f->threads_each, {1, kMostThreads}, "threads per run");
  add_flag(verb, "--dry-run", f->dry_run, "check every cell and predict its memory and time; train nothing");
  add_flag(verb, "--json", f->json, "print the cells as JSON at the end");
  verb.callback([f] {
    const study::Plan plan = study::read_plan(f->config);
    study::SweepOptions options;
    options.out = f->out;
    options.program = training_program("sweep");
    options.threads_each = f->threads_each;
    options.jobs = f->jobs > 0 ? f->jobs : std::max(1, available_threads() / f->threads_each);
    resolve_threads(std::int64_t{options.jobs} * f->threads_each);  // for its warning
    options.dry_run = f->dry_run;
    const bool live = isatty(STDERR_FILENO) && !f->dry_run;
    study::SweepView view(options.jobs, live);
    const auto cells =
        study::sweep(plan, options, [&](const auto& all, const CellState* changed) { view(all, changed); });
    if (f->json)
      fmt::print("{}\n", files::dump_line(json_of(cells)));
    else if (f->dry_run)
      print_outline(cells, options.jobs);
    else  // on a terminal the table stands there already
      fmt::print("{}results: {}\n",
                 live && isatty(STDOUT_FILENO) ? "" : study::table_text(cells, options.jobs, 1 << 20, 200),
                 (f->out / "results.csv").string());
    if (!f->dry_run) end(cells, *f);
  });
}

}  // namespace lowbit::cli
