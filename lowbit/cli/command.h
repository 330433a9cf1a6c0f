#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::cli {

/// One verb of the program. A verb is one file, NAME_command.cpp, that defines the `add` named here.
struct Command {
  std::string_view name;
  std::string_view summary;
  /// Declares the verb's flags on its parser and sets the callback that does the work. Errors are thrown (base/error.h);
  /// main turns them into their line and exit code.
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

/// CLI::App::add_option and add_flag for the types that our flags have. Not templates: those of CLI11 would cost each
/// file here seconds to compile.
CLI::Option* add_option(CLI::App& parser, std::string names, std::string& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, int& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::int64_t& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::uint64_t& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, double& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::filesystem::path& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::vector<std::filesystem::path>& value, std::string help);
CLI::Option* add_option(CLI::App& parser, std::string names, std::vector<std::string>& value, std::string help);
CLI::Option* add_flag(CLI::App& parser, std::string names, bool& value, std::string help);

/// Flags that several verbs share, declared the same way everywhere.
struct CommonFlags {
  int threads = 0;       ///< 0: as many as the process may use
  std::string isa;       ///< "" : the best this processor has, or LOWBIT_ISA
  bool json = false;
};
/// Declares --threads and --isa (compute) and --json; apply() after parsing checks and sets the instruction set.
void add_common(CLI::App& verb, CommonFlags& flags, bool computes = true);
/// threads resolved to a positive number; the instruction set forced. throws Error(usage).
int apply_common(const CommonFlags& flags);

/// lowbit-train, which lies beside this program. what: the verb that needs it, for the message.
/// throws Error(usage): it was not built.
std::filesystem::path training_program(std::string_view what);

/// Runs a program: parses argv (with --config FILE.toml folded in), calls the verb, prints one line for an Error.
/// returns the exit code: 0 done, 1 failed, 2 wrong use or bad input, 130 interrupted.
int main_program(int argc, char** argv, std::string_view program, std::span<const Command> commands,
                 std::span<const Command> handed_over);

}  // namespace lowbit::cli
