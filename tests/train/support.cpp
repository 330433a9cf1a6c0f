#include "train/support.h"

#include <algorithm>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "lowbit/base/rng.h"
#include "lowbit/files/checkpoint.h"

namespace lowbit::test {

namespace fs = std::filesystem;

std::string lowbit_program() { return LOWBIT_PROGRAM; }
std::string train_program() { return LOWBIT_TRAIN_PROGRAM; }

void write_batches(const fs::path& file, std::size_t windows, std::size_t seq, std::uint64_t seed) {
  const Rng rng(seed);
  std::ofstream out(file, std::ios::binary);
  for (std::size_t w = 0; w < windows; ++w) {
    std::uint64_t id = rng.below(w, 64);
    for (std::size_t i = 0; i <= seq; ++i) {
      const char bytes[2] = {static_cast<char>(id), 0};
      out.write(bytes, 2);
      id = (5 * id + 1 + rng.below(1000 + w * (seq + 1) + i, 3)) % 64;
    }
  }
}

std::vector<std::string> small_run(const fs::path& batches, const fs::path& out, int steps) {
  return {train_program(),  "train",
          "--batches",      batches.string(),
          "--eval-batches", batches.string(),
          "--eval-windows", "4",
          "--batch",        "4",
          "--micro-batch",  "2",
          "--seq",          "32",
          "--vocab",        "64",
          "--layers",       "2",
          "--width",        "64",
          "--heads",        "2",
          "--mlp",          "64",
          "--format",       "w4a4",
          "--head",         "w8a8",
          "--lr",           "1e-2",
          "--steps",        std::to_string(steps),
          "--out",          out.string()};
}

std::vector<std::string> plus(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  for (std::size_t i = 0; i < more.size(); ++i) {
    const auto given =
        more[i].starts_with("--") ? std::find(arguments.begin(), arguments.end(), more[i]) : arguments.end();
    if (given == arguments.end())
      arguments.push_back(more[i]);
    else if (i + 1 < more.size() && !more[i + 1].starts_with("--"))
      *(given + 1) = more[++i];
  }
  return arguments;
}

std::vector<std::string> with_format(std::vector<std::string> arguments, const std::string& format) {
  *(std::find(arguments.begin(), arguments.end(), "--format") + 1) = format;
  return arguments;
}

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string differing_files(const fs::path& a, const fs::path& b, int step) {
  const std::string folder = "checkpoints/step-" + std::to_string(step);
  std::string differences;
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json", "config.json"}) {
    const std::string one = bytes_of(a / folder / name), other = bytes_of(b / folder / name);
    if (one.empty()) differences += std::string(name) + " is missing; ";
    if (one != other) differences += std::string(name) + " differs; ";
  }
  return differences;
}

bool run_and_kill(const std::vector<std::string>& arguments, int milliseconds) {
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no process");
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return true;
  if (WEXITSTATUS(status) != 0)
    throw std::runtime_error("the run failed by itself with " + std::to_string(WEXITSTATUS(status)));
  return false;
}

std::string kill_and_resume(int steps, int checkpoint_every, int kills, std::uint64_t seed,
                            const std::vector<std::string>& more) {
  const TemporaryFolder folder;
  const fs::path batches = folder / "batches.u16", whole = folder / "whole", killed = folder / "killed";
  write_batches(batches, static_cast<std::size_t>(4 * steps), 32, 1);
  const auto with = [&](const fs::path& out, const std::vector<std::string>& also) {
    std::vector<std::string> arguments = small_run(batches, out, steps);
    for (const char* always : {"--checkpoint-every", "--eval-every"}) {
      arguments.push_back(always);
      arguments.push_back(std::to_string(checkpoint_every));
    }
    return plus(plus(arguments, more), also);
  };
  const auto start = std::chrono::steady_clock::now();
  const Outcome uninterrupted = run_program(with(whole, {"--threads", "1"}));
  const double milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (uninterrupted.exit_code != 0) return "the uninterrupted run failed: " + uninterrupted.err;

  const Rng rng(seed);
  const auto resume = [&](int threads) { return with(killed, {"--resume", "--threads", std::to_string(threads)}); };
  run_and_kill(with(killed, {"--threads", "2"}), static_cast<int>(0.5 * milliseconds));
  int done = 1;
  for (int i = 0; done < kills && i < 4 * kills; ++i) {
    const auto before = files::newest_complete(killed);
    // From before the first step to about a third of the run, so that most kills land at work and the run still
    // advances.
    const double after = rng.uniform(static_cast<std::uint64_t>(i)) * 0.35 * milliseconds;
    if (!fs::exists(killed / "run.json")) {
      run_and_kill(with(killed, {"--threads", "2"}), static_cast<int>(0.5 * milliseconds));
      continue;
    }
    done += run_and_kill(resume(1 + i % 2), static_cast<int>(after) + 1);
    const auto now = files::newest_complete(killed);
    if (before && (!now || now->step < before->step))
      return "a kill lost the checkpoint of step " + std::to_string(before->step);
    if (now && now->step == steps) {  // it came through: begin anew, so that the other kills find work
      if (const std::string d = differing_files(whole, killed, steps); !d.empty()) return d;
      fs::remove_all(killed);
      run_and_kill(with(killed, {"--threads", "2"}), static_cast<int>(0.5 * milliseconds));
    }
  }
  if (done < kills) return "only " + std::to_string(done) + " kills landed";
  if (!fs::exists(killed / "run.json")) return "the last kill left no run to resume";
  const auto last = files::newest_complete(killed);
  const Outcome end = run_program(resume(2));
  if (end.exit_code != 0) return "the last resume failed: " + end.err;
  std::smatch match;
  if (!std::regex_search(end.err, match, std::regex("resumed  from step ([0-9]+)")))
    return "it did not say from where it resumed: " + end.err;
  if (std::stoi(match[1]) != (last ? last->step : 0)) return "it resumed from step " + match[1].str();
  return differing_files(whole, killed, steps);
}

}  // namespace lowbit::test
