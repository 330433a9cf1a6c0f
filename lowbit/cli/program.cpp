#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iostream>
#include <new>
#include <optional>

#include "lowbit/base/error.h"
#include "lowbit/base/executor.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/cli/arguments.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/help.h"
#include "lowbit/machine/isa.h"

namespace lowbit::cli {
namespace {

constexpr int kMostThreads = 1024;
constexpr char kSecondProgram[] = "lowbit-train";

using Commands = std::span<const Command>;

const Command* find(Commands commands, std::string_view name) {
  const auto found = std::find_if(commands.begin(), commands.end(), [&](const Command& c) { return c.name == name; });
  return found == commands.end() ? nullptr : &*found;
}

int print_error(std::string_view message, int exit_code) {
  std::string line = "lowbit: ";
  // A name with a line break in it must not make two lines of one message.
  for (const char c : message) line += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  line += '\n';
  std::cout.flush();
  fputs(line.c_str(), stderr);
  return exit_code;
}

/// The second program beside this one, or nothing when it was not built.
std::optional<std::filesystem::path> second_program() {
  std::error_code code;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code) return {};
  const auto path = self.parent_path() / kSecondProgram;
  if (access(path.c_str(), X_OK) != 0) return {};
  return path;
}

/// Becomes the second program, with the same arguments. Returns only by throwing.
[[noreturn]] void hand_over(char** argv, std::string_view what) {
  std::string name = training_program(what).string();
  argv[0] = name.data();
  execv(name.c_str(), argv);
  fail("{} cannot be started: {}", name, errno_text(errno));
}

void print_verbs(std::string_view program, Commands commands, Commands handed_over) {
  std::string text =
      fmt::format("Usage: {} VERB [flags]\n\nLow-bit language models on ordinary CPUs: train, evaluate, pack, run.\n\n"
                  "Verbs:\n", program);
  std::vector<Command> all(commands.begin(), commands.end());
  for (const Command& command : handed_over)
    if (!find(commands, command.name)) all.push_back(command);
  for (const Command& command : all) {
    const bool missing = !command.add && !second_program();
    text += fmt::format("  {:<11}{}{}\n", command.name, command.summary, missing ? " (not in this build)" : "");
  }
  text += fmt::format("\n'{0} VERB --help' shows the flags of a verb; '{0} --version' the version.\n", program);
  std::cout << text;
}

std::vector<std::string> names_of(Commands commands, Commands handed_over) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.emplace_back(command.name);
  for (const Command& command : handed_over) names.emplace_back(command.name);
  return names;
}

/// What CLI11 found wrong, in one line that says what to do.
[[noreturn]] void refuse(const CLI::App& verb, const CLI::App& parser, const std::string& name,
                         const CLI::ParseError& error) {
  const std::string hint = fmt::format("'{} --help' lists the flags", name);
  // An unknown flag is told first: it is often the misspelt form of the one that is missing.
  for (const std::string& extra : verb.remaining(true)) {
    if (extra.starts_with("--")) {
      const std::string flag = extra.substr(0, extra.find('='));
      std::vector<std::string> known = flag_names(parser);
      for (std::string& known_flag : known) known_flag.insert(0, "--");
      fail_usage("'{}' has no flag {}{}; {}", name, flag, did_you_mean(flag, known), hint);
    }
    if (extra.size() > 1 && extra.front() == '-') fail_usage("'{}' has no flag {}; {}", name, extra, hint);
    std::vector<std::string> subs;
    for (const CLI::App* sub : parser.get_subcommands([](const CLI::App*) { return true; }))
      subs.push_back(sub->get_name());
    if (!subs.empty())
      fail_usage("'{}' does not do '{}'{}; it takes one of: {}", name, extra, did_you_mean(extra, subs),
                 fmt::join(subs, ", "));
    fail_usage("'{}' was given '{}', which belongs to no flag; quote text with spaces; {}", name, extra, hint);
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error)) {
    std::vector<std::string> subs;
    for (const CLI::App* sub : parser.get_subcommands([](const CLI::App*) { return true; }))
      subs.push_back(sub->get_name());
    if (!subs.empty() && parser.get_subcommands().empty())
      fail_usage("'{}' needs one of: {}", name, fmt::join(subs, ", "));
    std::vector<std::string> missing;
    for (const CLI::Option* option : parser.get_options())
      if (option->get_required() && option->count() == 0)
        missing.push_back(option->get_positional() ? option->get_name(true) : option->get_name());
    if (!missing.empty()) fail_usage("'{}' needs {}; {}", name, fmt::join(missing, " and "), hint);
  }
  fail_usage("'{}': {}; {}", name, error.what(), hint);
}

void run_verb(const Command& command, std::vector<std::string> arguments, bool also_handed_over, char** argv) {
  CLI::App verb{std::string(command.summary), fmt::format("lowbit {}", command.name)};
  prepare_help(verb);
  command.add(verb);
  CLI::App& parser = innermost(verb, arguments);
  std::string name = verb.get_name();
  if (&parser != &verb) name += " " + parser.get_name();

  std::string config;
  if (!parser.get_option_no_throw("--config")) {
    add_option(parser, "--config", config, "read flags from this TOML file; keys are flags without dashes");
    const std::string file = value_of(parser, arguments, "config");
    if (!file.empty()) arguments = fold_config(parser, name, std::move(arguments), file);
  }
  if (also_handed_over && value_of(parser, arguments, "engine") == "train") hand_over(argv, name + " --engine train");
  if (also_handed_over && given_flags(parser, arguments).contains("train")) hand_over(argv, name + " --train");

  try {
    verb.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    std::cout << parser.help(&parser == &verb ? "" : verb.get_name());
  } catch (const CLI::ParseError& error) {
    refuse(verb, parser, name, error);
  }
}

void dispatch(int argc, char** argv, std::string_view program, Commands commands, Commands handed_over) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const std::string first = arguments.empty() ? "--help" : arguments[0];
  if (first == "--help" || first == "-h" || first == "help") return print_verbs(program, commands, handed_over);
  if (first == "--version") {
    std::cout << "lowbit " LOWBIT_VERSION "\n";
    return;
  }
  if (first.starts_with('-'))
    fail_usage("'{}' stands before the verb; write the verb first: {} VERB {} ... ('{}' alone lists the verbs)", first,
               program, first, program);
  const Command* here = find(commands, first);
  const Command* there = find(handed_over, first);
  if (!here && !there)
    fail_usage("there is no verb '{}'{}; '{}' alone lists the verbs", first,
               did_you_mean(first, names_of(commands, handed_over)), program);
  if (!here || !here->add) hand_over(argv, first);
  arguments.erase(arguments.begin());
  run_verb(*here, std::move(arguments), there != nullptr, argv);
}

/// What was printed must have arrived: a full disk behind `> file` is a failure.
int finish_output(int exit_code) {
  errno = 0;
  std::cout.flush();
  if (fflush(stdout) == 0 && !ferror(stdout) && std::cout.good()) return exit_code;
  const std::string why = errno ? ": " + errno_text(errno) : "";
  if (exit_code != 0) return exit_code;
  return print_error("the output could not be written" + why, 1);
}

}  // namespace

std::filesystem::path training_program(std::string_view what) {
  const auto path = second_program();
  if (!path)
    fail_usage("'{}' needs {} beside lowbit, which was built without training; build it with scripts/build.sh "
               "(without --no-train)",
               what, kSecondProgram);
  return *path;
}

void add_common(CLI::App& verb, CommonFlags& flags, bool computes) {
  if (computes) {
    add_option(verb, "--threads", flags.threads, "threads; 0: as many as this process may use")
        ->check(CLI::Range(0, kMostThreads));
    add_option(verb, "--isa", flags.isa,
                    "instruction set: scalar, avx2 or avx512; without it LOWBIT_ISA, else the best this processor has");
  }
  add_flag(verb, "--json", flags.json, "print results as JSON, for machines");
}

int apply_common(const CommonFlags& flags) {
  if (flags.threads < 0 || flags.threads > kMostThreads)
    fail_usage("--threads {}: choose 1 to {}, or 0 for as many as this process may use", flags.threads, kMostThreads);
  if (!flags.isa.empty()) force_isa(isa_by_name(flags.isa));
  active_isa();  // refuses a LOWBIT_ISA that this processor lacks before any work is done
  return flags.threads > 0 ? flags.threads : available_threads();
}

int main_program(int argc, char** argv, std::string_view program, Commands commands, Commands handed_over) {
  const FlushDenormals flush;
  catch_interrupts();
  int exit_code = 0;
  try {
    dispatch(argc, argv, program, commands, handed_over);
  } catch (const Interrupted& error) {
    exit_code = print_error(error.what(), 130);
  } catch (const Error& error) {
    exit_code = print_error(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    exit_code = print_error("out of memory; close other programs, or choose a smaller model, batch or context", 1);
  } catch (const std::exception& error) {
    exit_code = print_error(fmt::format("failed in a way that was not foreseen: {}", error.what()), 1);
  }
  return finish_output(exit_code);
}

}  // namespace lowbit::cli
