#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include "lowbit/report/metrics.h"
#include "study/made_up_run.h"

// Stands for lowbit-train in tests of the sweep: it writes what training writes and learns nothing. Flags with a
// meaning:
// --steps; --clip, milliseconds of a step; --lr 666 fails at step 3; --heads 3 is refused; --seq 1 has no held-out
// text;
// --keep 77 forgets the last evaluation; --batch 0 kills itself.
namespace {

volatile sig_atomic_t stop = 0;
void on_signal(int) { stop = 1; }

int refuse(const std::string& why) {
  fmt::print(stderr, "lowbit: {}\n", why);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace lowbit;
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  std::map<std::string, std::string> flags{{"format", "w4a4"}, {"steps", "10"}, {"clip", "5"}, {"seed", "0"}};
  for (int i = 2; i < argc; ++i) {
    std::string word = argv[i];
    if (!word.starts_with("--")) return refuse("a word that is no flag: " + word);
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos)
      flags[word.substr(2, equals - 2)] = word.substr(equals + 1);
    else if (i + 1 < argc && !std::string(argv[i + 1]).starts_with("--"))
      flags[word.substr(2)] = argv[i + 1], ++i;
    else
      flags[word.substr(2)] = "true";
  }
  const std::filesystem::path out = flags["out"];
  std::int64_t steps = std::stoll(flags["steps"]), from = 0;
  if (flags["heads"] == "3") return refuse("--width 128 is not a multiple of --heads 3");
  if (flags.contains("dry-run")) {
    fmt::print(
        "{{\"parameters\": 1000, \"steps\": {}, \"tokens_per_step\": 1024, \"memory_bytes\": {}, \"disk_bytes\": 1000, "
        "\"seconds\": 1.0, \"held_out\": {}}}\n",
        steps, flags["mlp"] == "9" ? "99000000000000" : "1000", flags["seq"] != "1");
    return 0;
  }
  if (flags.contains("resume")) {
    const auto records = report::read_run(out);
    for (const auto& [name, value] : records.info->flags)
      if (name != "threads") flags[name] = value;
    steps = records.info->steps;
    from = records.steps.empty() ? 0 : records.steps.back().step;
  } else if (std::filesystem::exists(out / "run.json")) {
    return refuse("already holds a run");
  }
  std::filesystem::create_directories(out);
  report::RunInfo info;
  info.program = "lowbit 0.1.0";
  for (const auto& flag : flags) info.flags.push_back(flag);
  info.format = flags["format"];
  info.estimator = "trust";
  info.transform = "hadamard";
  info.model = {2, 128, 2, 2, 512, 512, 128, 700000, 500000};
  info.steps = steps;
  info.tokens_per_step = 1024;
  std::ofstream(out / "run.json") << report::to_json(info);
  std::ofstream metrics(out / "metrics.jsonl", std::ios::app);
  const auto pause = std::chrono::milliseconds(std::stoll(flags["clip"]));
  for (std::int64_t step = from + 1; step <= steps; ++step) {
    std::this_thread::sleep_for(pause);
    if (stop) {
      metrics << report::to_line(report::EventRecord{step - 1, "interrupted", ""});
      fmt::print(stderr, "lowbit: stopped at step {}, saved\n", step - 1);
      return 130;
    }
    metrics << report::to_line(report::StepRecord{step, 4, 0.01, 1, step * 1024, static_cast<double>(step), 1024, 0.5})
            << std::flush;
    if (step == 3 && flags["lr"] == "666") {
      fmt::print(stderr, "lowbit: the loss became nan at step 3\n");
      return 1;
    }
    if (step == 3 && flags["batch"] == "0") raise(SIGKILL);
  }
  if (flags["keep"] == "77") return 0;
  report::EvalRecord eval;
  eval.step = steps;
  eval.nats_per_token = 3 + 0.1 * std::stod(flags["seed"]);
  eval.nats_per_token_interval = report::Interval{2.9, 3.5};
  metrics << report::to_line(eval);
  return 0;
}
