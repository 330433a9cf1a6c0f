#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/process.h"
#include "support/data.h"

namespace lowbit::test {

std::string lowbit_program();
std::string train_program();

/// Raw uint16 windows [steps * batch, seq + 1] of a little language that a model can learn: ids below 64.
void write_batches(const std::filesystem::path& file, std::size_t windows, std::size_t seq, std::uint64_t seed);

/// A small run that takes about ten milliseconds a step: --batches FILE, w4a4, two blocks of width 64.
std::vector<std::string> small_run(const std::filesystem::path& batches, const std::filesystem::path& out, int steps);

/// The same arguments with `more` behind them, or in the place of a flag's value that was given already; with another
/// --format.
std::vector<std::string> plus(std::vector<std::string> arguments, const std::vector<std::string>& more);
std::vector<std::string> with_format(std::vector<std::string> arguments, const std::string& format);

std::string bytes_of(const std::filesystem::path& file);

/// Empty when the files that a resumed run must have equal are equal: those of checkpoints/step-N.
std::string differing_files(const std::filesystem::path& run_a, const std::filesystem::path& run_b, int step);

/// Starts a program and kills it (SIGKILL) after so many milliseconds, unless it ended before. returns whether it was
/// killed; a program that fails by itself throws.
bool run_and_kill(const std::vector<std::string>& arguments, int milliseconds);

/// Kills a run `kills` times at moments drawn from `seed`, resuming it each time (every other time with another number
/// of threads), lets it end, and compares it with one that was never killed. checkpoint_every steps are the most that a
/// kill may cost. more: further flags of every run. returns what differs, or nothing.
std::string kill_and_resume(int steps, int checkpoint_every, int kills, std::uint64_t seed,
                            const std::vector<std::string>& more = {});

}  // namespace lowbit::test
