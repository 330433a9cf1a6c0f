#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iostream>
#include <new>
#include <optional>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/executor.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/arguments.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/help.h"
#include "lowbit/cli/version.h"
#include "lowbit/machine/isa.h"

namespace lowbit::cli {
namespace {

constexpr char kSecondProgram[] = "lowbit-train";

using Commands = std::span<const Command>;

const Command* find(Commands commands, std::string_view name) {
  const auto found = std::find_if(commands.begin(), commands.end(), [&](const Command& c) { return c.name == name; });
  return found == commands.end() ? nullptr : &*found;
}

constexpr std::size_t kLongestLine = 4000;  // bytes of an error: a hostile file must not fill the screen

int print_error(std::string_view message, int exit_code) {
  // A name with a line break in it must not make two lines of one message, nor a control character reach the terminal.
  const std::string line = "lowbit: " + excerpt(message, kLongestLine) + "\n";
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

/// Becomes the second program. Returns only by throwing.
[[noreturn]] void hand_over(std::vector<std::string> arguments, std::string_view what) {
  arguments.insert(arguments.begin(), training_program(what).string());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  fail("{} cannot be started: {}", arguments[0], errno_text(errno));
}

/// Runs the second program and waits for it. returns whether it ended with 0.
bool run_second(const std::vector<std::string>& arguments) {
  std::cout.flush();
  const pid_t child = fork();
  if (child < 0) fail("no process for {}: {}", kSecondProgram, errno_text(errno));
  if (child == 0) {
    try {
      hand_over(arguments, "help");
    } catch (...) {
      _exit(1);
    }
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void print_verbs(std::string_view program, Commands commands, Commands handed_over) {
  std::string text = fmt::format(
      "Usage: {} VERB [flags]\n\nTrain, evaluate, pack and run low-bit language models on ordinary CPUs.\n\nVerbs:\n",
      program);
  std::vector<Command> all(commands.begin(), commands.end());
  for (const Command& command : handed_over)
    if (!find(commands, command.name)) all.push_back(command);
  for (const Command& command : all) {
    const bool missing = !command.add && !second_program();
    text += fmt::format("  {:<11}{}{}\n", command.name, command.summary, missing ? " (not in this build)" : "");
  }
  text += fmt::format("\n'{0} help VERB' lists the flags of a verb, '{0} --version' shows the version.\n", program);
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
    if (extra.size() > 1 && extra.front() == '-') {
      std::vector<std::string> known = flag_names(parser);
      const std::string meant = nearest(extra.substr(1, extra.find('=') - 1), known);
      fail_usage("'{}' has no flag {}{}; {}", name, extra, meant.empty() ? meant : " (did you mean '--" + meant + "'?)",
                 hint);
    }
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

bool asks_for_help(const std::vector<std::string>& arguments) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  return std::find(arguments.begin(), end, "--help") != end || std::find(arguments.begin(), end, "-h") != end;
}

void add_config(CLI::App& parser, std::string& config) {
  if (!parser.get_option_no_throw("--config"))
    add_option(parser, "--config", config, "read flags from this TOML file; its keys are flags without dashes")
        ->type_name("FILE");
}

void run_verb(const Command& command, std::vector<std::string> arguments, bool also_handed_over) {
  CLI::App verb{std::string(command.summary), fmt::format("lowbit {}", command.name)};
  prepare_help(verb);
  command.add(verb);
  CLI::App& parser = innermost(verb, arguments);
  std::string name = verb.get_name();
  if (&parser != &verb) name += " " + parser.get_name();

  std::string config;
  const bool folds = !parser.get_option_no_throw("--config");  // sweep has a file of its own kind
  add_config(parser, config);
  const std::vector<std::string> as_given = arguments;
  const auto second_does = [&](const char* flag) {
    if (!also_handed_over) return;
    std::vector<std::string> words = as_given;
    words.insert(words.begin(), std::string(command.name));
    hand_over(std::move(words), name + flag);
  };
  if (given_flags(parser, arguments).contains("train")) second_does(" --train");
  // Help comes before any complaint about what stands beside it.
  if (asks_for_help(arguments)) {
    std::cout << parser.help(&parser == &verb ? "" : verb.get_name());
    return;
  }
  arguments = normalized(parser, name, std::move(arguments));
  if (const std::string file = folds ? value_of(parser, arguments, "config") : ""; !file.empty()) {
    std::map<std::string, std::string> places;
    arguments = fold_config(parser, name, std::move(arguments), file, places);
    set_places(std::move(places));
  }
  if (value_of(parser, arguments, "engine") == "train") second_does(" --engine train");
  if (given_flags(parser, arguments).contains("train")) second_does(" --train");

  try {
    verb.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    refuse(verb, parser, name, error);
  }
}

/// The verb's section of the flag reference, and for one that lowbit-train has too, that of its own flags.
void print_markdown(Commands commands, Commands handed_over, const std::string& only) {
  const auto print = [](const Command& command, const std::string& name) {
    CLI::App verb{std::string(command.summary), name};
    prepare_help(verb);
    command.add(verb);
    std::string config;
    const auto subs = verb.get_subcommands([](const CLI::App*) { return true; });
    if (subs.empty()) add_config(verb, config);
    for (CLI::App* sub : subs) add_config(*sub, config);
    std::cout << help_as_markdown(verb, name) << "\n";
  };
  if (only.empty())
    std::cout
        << "# Verbs and flags\n\n"
           "This page lists every verb and flag of both programs; the programs print it (`lowbit help --markdown`).\n"
           "`lowbit VERB --help` and `lowbit help VERB` show the flags of one verb. `N` stands for a whole number and "
           "`X`\n"
           "for a real one; [the command line](command_line.md) describes how numbers are written.\n\n";
  for (const Command& command : commands) {
    if (!only.empty() && command.name != only) continue;
    if (command.add) {
      // In lowbit-train, which is called by the other program alone, `bench` is `bench --train`.
      const bool second = handed_over.empty() && command.name == "bench";
      print(command, fmt::format("lowbit {}{}", command.name, second ? " --train" : ""));
    }
    if (find(handed_over, command.name) && command.name != "logits" && second_program() &&
        !run_second({"help", "--markdown", std::string(command.name)}))
      fail("{} could not list its flags", kSecondProgram);
  }
}

/// help, help VERB, help VERB SUBVERB, help --markdown [VERB].
void help(std::vector<std::string> words, std::string_view program, Commands commands, Commands handed_over) {
  if (words.empty()) return print_verbs(program, commands, handed_over);
  if (words[0] == "--markdown") return print_markdown(commands, handed_over, words.size() > 1 ? words[1] : "");
  const Command* here = find(commands, words[0]);
  if (!here && !find(handed_over, words[0]))
    fail_usage("there is no verb '{}'{}; '{}' alone lists the verbs", words[0],
               did_you_mean(words[0], names_of(commands, handed_over)), program);
  if (!here || !here->add) {
    words.push_back("--help");
    hand_over(std::move(words), words[0]);
  }
  CLI::App verb{std::string(here->summary), fmt::format("lowbit {}", here->name)};
  prepare_help(verb);
  here->add(verb);
  std::vector<std::string> rest(words.begin() + 1, words.end());
  const CLI::App& parser = innermost(verb, rest);
  const std::size_t used = &parser == &verb ? 0 : 1;
  if (rest.size() > used && !rest[used].starts_with('-')) {
    std::vector<std::string> subs;
    for (const CLI::App* sub : parser.get_subcommands([](const CLI::App*) { return true; }))
      subs.push_back(sub->get_name());
    fail_usage("'{}' has no verb '{}'{}", verb.get_name(), rest[used], did_you_mean(rest[used], subs));
  }
  rest.push_back("--help");
  run_verb(*here, std::move(rest), find(handed_over, words[0]) != nullptr);
}

void dispatch(int argc, char** argv, const ProgramInfo& info, Commands commands, Commands handed_over) {
  const std::string_view program = info.name;
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const std::string first = arguments.empty() ? "help" : arguments[0];
  if (!arguments.empty()) arguments.erase(arguments.begin());
  if (first == "--help" || first == "-h" || first == "help")
    return help(std::move(arguments), program, commands, handed_over);
  if (first == "--version" || first == "version") {
    std::cout << version_text(info);
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
  if (!here || !here->add) {
    arguments.insert(arguments.begin(), first);
    hand_over(std::move(arguments), first);
  }
  run_verb(*here, std::move(arguments), there != nullptr);
}

/// Takes all that is written to it, whether it arrives or not.
ssize_t write_if_possible(void*, const char* bytes, size_t size) {
  for (size_t at = 0; at < size;) {
    const ssize_t put = write(STDERR_FILENO, bytes + at, size - at);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) break;
    at += static_cast<size_t>(put);
  }
  return static_cast<ssize_t>(size);
}

/// Descriptors 0 to 2 are ours whatever started us: were one closed, the next file that is opened would take its number
/// and what is printed would go into that file. And a terminal that is gone, or a full disk behind `2> file`, must not
/// end work that has more to do than to talk: standard error never fails.
void prepare_streams() {
  for (int fd = 0; fd <= 2; ++fd)
    // Standard output that was closed fails on writing, as it would have.
    if (fcntl(fd, F_GETFD) < 0) [[maybe_unused]]
      const int opened = open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY);
  if (FILE* errors = fopencookie(nullptr, "w", {nullptr, write_if_possible, nullptr, nullptr})) {
    setvbuf(errors, nullptr, _IONBF, 0);
    stderr = errors;
  }
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

void add_threads(CLI::App& verb, int& threads) {
  add_option(verb, "--threads", threads, {0, kMostThreads}, "threads to compute with; 0 stands for the default")
      ->default_str("all processors granted");
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) names.emplace_back(isa_name(isa));
  return names;
}

void add_common(CLI::App& verb, CommonFlags& flags, bool computes) {
  if (computes) {
    add_threads(verb, flags.threads);
    add_choice(verb, "--isa", flags.isa, isa_names(), "instruction set; every one gives the same bits")
        ->default_str("LOWBIT_ISA, else the best that the processor has");
  }
  add_flag(verb, "--json", flags.json, "print results as JSON");
}

int resolve_threads(std::int64_t threads) {
  const int granted = available_threads();
  if (threads > granted)
    fmt::print(stderr, "{}\n",
               fmt::format("lowbit: warning: {} for {} granted to this process (by affinity and CPU quota); the result "
                           "is the same, but "
                           "the work can be many times slower",
                           counted(threads, "thread"), counted(granted, "processor")));
  return threads > 0 ? static_cast<int>(threads) : granted;
}

int apply_common(const CommonFlags& flags) {
  if (!flags.isa.empty()) force_isa(isa_by_name(flags.isa));
  active_isa();  // refuses a LOWBIT_ISA that this processor lacks before any work is done
  return resolve_threads(flags.threads);
}

int main_program(int argc, char** argv, const ProgramInfo& program, Commands commands, Commands handed_over) {
  const FlushDenormals flush;
  prepare_streams();
  catch_interrupts();
  catch_lost_maps();
  int exit_code = 0;
  try {
    dispatch(argc, argv, program, commands, handed_over);
  } catch (const Interrupted& error) {
    exit_code = print_error(error.what(), 130);
  } catch (const Error& error) {
    exit_code = print_error(error.what(), error.exit_code());
  } catch (const std::filesystem::filesystem_error& error) {
    // A name that is too long, a loop of links, a file used as a folder: what was named, unless the disk failed.
    const std::errc code{error.code().value()};
    const bool disk = code == std::errc::no_space_on_device || code == std::errc::io_error ||
                      code == std::errc::read_only_file_system;
    exit_code = print_error(fmt::format("{}: {}", error.path1().string(), error.code().message()), disk ? 1 : 2);
  } catch (const std::bad_alloc&) {
    exit_code = print_error("out of memory; close other programs, or choose a smaller model, batch or context", 1);
  } catch (const std::system_error& error) {
    // fmt::print says so of standard output alone, as standard error never fails.
    if (!ferror(stdout)) return print_error(fmt::format("unexpected error: {}", error.what()), 1);
    return print_error(fmt::format("the output could not be written: {}", error.code().message()), 1);
  } catch (const std::exception& error) {
    exit_code = print_error(fmt::format("unexpected error: {}", error.what()), 1);
  }
  return finish_output(exit_code);
}

}  // namespace lowbit::cli
