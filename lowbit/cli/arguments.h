#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::cli {

/// The name most like `wrong` by edit distance (insert, remove, replace, swap), or "" when none is near enough to be
/// what was meant.
std::string nearest(std::string_view wrong, std::span<const std::string> names);

/// " (did you mean 'X'?)", or "" when nothing is near.
std::string did_you_mean(std::string_view wrong, std::span<const std::string> names);

/// The parser that the arguments reach: a verb, or its sub-verb (`tokenizer train`).
CLI::App& innermost(CLI::App& verb, std::span<const std::string> arguments);

/// The long flags that a parser knows, without dashes.
std::vector<std::string> flag_names(const CLI::App& parser);

/// Long flags among the arguments, without dashes; the values that known flags take are stepped over.
std::set<std::string> given_flags(const CLI::App& parser, std::span<const std::string> arguments);

/// The value of the last `--name VALUE` or `--name=VALUE`, or "".
std::string value_of(const CLI::App& parser, std::span<const std::string> arguments, std::string_view name);

/// Arguments in the one form that the parser reads right: `--flag=value` as two words. throws Error(usage) that names
/// the flag: no value, a value that is itself a flag of this parser (`--model --data d`), a flag of one value given
/// twice, a switch with another value than true or false, a switch and its opposite.
std::vector<std::string> normalized(const CLI::App& parser, std::string_view verb, std::vector<std::string> arguments);

/// Arguments with those of a TOML file appended: key = value stands for --key value, an array for the flag repeated.
/// Flags already among the arguments win. places: gets "FILE:LINE" of each flag taken from the file. throws Error(usage
/// or input) with file and line: a file that cannot be read, is no TOML, or has a key that is no flag of the parser or
/// a value that no flag takes.
std::vector<std::string> fold_config(const CLI::App& parser, std::string_view verb, std::vector<std::string> arguments,
                                     const std::filesystem::path& file, std::map<std::string, std::string>& places);

}  // namespace lowbit::cli
