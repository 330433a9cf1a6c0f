#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::cli {

/// One verb of the program. A verb is one file, NAME_command.cpp, that defines the `add` named here.
struct Command {
  std::string_view name;
  std::string_view summary;
  /// Declares the verb's flags on its parser and sets the callback that does the work. Errors are thrown
  /// (base/error.h); main turns them into their line and exit code.
  void (*add)(CLI::App& verb);
};

void add_tokenizer(CLI::App& verb);
void add_data(CLI::App& verb);
void add_eval(CLI::App& verb);
void add_run(CLI::App& verb);
void add_pack(CLI::App& verb);
void add_inspect(CLI::App& verb);
void add_logits(CLI::App& verb);
void add_roofline(CLI::App& verb);
void add_bench(CLI::App& verb);
void add_fit(CLI::App& verb);
void add_sweep(CLI::App& verb);
void add_report(CLI::App& verb);
/// In the second program, lowbit-train, which links libtorch; `lowbit` hands these verbs over to it.
void add_train(CLI::App& verb);
void add_train_logits(CLI::App& verb);
void add_train_bench(CLI::App& verb);
void add_diagnose(CLI::App& verb);

/// The highest that a count without another limit may be: far beyond use, and sums and small multiples of it do not
/// overflow.
inline constexpr std::int64_t kUnlimited = 1'000'000'000'000'000;

/// What a whole number may be, both ends included.
struct Limits {
  std::int64_t lowest = 0;
  std::int64_t highest = kUnlimited;
};
/// What a real number may be. An open end is itself refused.
struct Between {
  double lowest = 0;
  double highest = std::numeric_limits<double>::max();
  bool above = false;  ///< the lowest is refused
  bool below = false;  ///< the highest is refused
};

// Options are declared by these alone, so that every value is read, refused and shown the same way: a bad one ends in
// one line that names the flag, the value and what is allowed, with file and line when it comes from --config. A 0 that
// stands for "not given" in a variable lies outside the limits, so nobody can type it; its meaning is told by
// ->default_str("..."). Not templates: those of CLI11 would cost each file here seconds to compile.
CLI::Option* add_option(CLI::App& parser, std::string names, int& value, Limits limits, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::int64_t& value, Limits limits, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::uint64_t& value, Limits limits, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, double& value, Between between, std::string help);
/// A positive number with a suffix, which may be larger than 64 bits hold: --flops 3e19, --memory 1.6G.
CLI::Option* add_quantity(CLI::App& parser, std::string names, double& value, std::string help);
/// Any of 2^64 seeds.
CLI::Option* add_seed(CLI::App& parser, std::uint64_t& value, std::string help);
/// One of a few words.
CLI::Option* add_choice(CLI::App& parser, std::string names, std::string& value, std::vector<std::string> words,
                        std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::string& value, std::string help);
/// A path, which may not be empty.
CLI::Option* add_option(CLI::App& parser, std::string names, std::filesystem::path& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::vector<std::filesystem::path>& value,
                        std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::vector<std::string>& value, std::string help);
CLI::Option* add_flag(CLI::App& parser, std::string names, bool& value, std::string help);

/// A number of a list such as 1,64..512 (bench_flags.h), read and refused as that of an option is.
std::int64_t read_number(std::string_view flag, std::string_view text, Limits limits);

/// "--batch 0", or "run.toml:3: batch = 0" when the value stands in the file of --config.
std::string as_typed(std::string_view flag, std::string_view text);
/// Where the values of flags (without dashes) come from that are not on the command line.
void set_places(std::map<std::string, std::string> places);

/// Flags that several verbs share, declared the same way everywhere.
struct CommonFlags {
  int threads = 0;       ///< 0: all that are granted
  std::string isa;       ///< "" : the best this processor has, or LOWBIT_ISA
  bool json = false;
};
inline constexpr int kMostThreads = 1024;
/// What --isa takes.
std::vector<std::string> isa_names();
/// --threads alone, for verbs that have no --isa.
void add_threads(CLI::App& verb, int& threads);
/// Declares --threads and --isa (computes) and --json; apply_common after parsing checks and sets the instruction set.
void add_common(CLI::App& verb, CommonFlags& flags, bool computes = true);
/// threads resolved to a positive number; the instruction set forced. throws Error(usage).
int apply_common(const CommonFlags& flags);
/// --threads resolved: 0 is all that are granted (base/executor.h). More than those are used as asked, with a warning
/// on standard error: results stay the same, but threads that wait for a processor can make work a hundred times
/// slower.
int resolve_threads(std::int64_t threads);

/// What main_program tells by --version besides what every program knows.
struct ProgramInfo {
  std::string_view name;     ///< lowbit, lowbit-train
  std::string_view libtorch; ///< its version, or "" for a program without it
};

/// lowbit-train, which lies beside this program. what: the verb that needs it, for the message.
/// throws Error(usage): it was not built.
std::filesystem::path training_program(std::string_view what);

/// Runs a program: parses argv (with --config FILE.toml folded in), calls the verb, prints one line for an Error.
/// returns the exit code: 0 done, 1 failed, 2 wrong use or bad input, 130 interrupted.
int main_program(int argc, char** argv, const ProgramInfo& program, std::span<const Command> commands,
                 std::span<const Command> handed_over);

}  // namespace lowbit::cli
