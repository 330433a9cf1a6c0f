#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace lowbit::cli {

/// Gives a verb the help that all verbs share: -h and --help, range and default behind each description, at most 100
/// columns. Call it before flags are added; sub-verbs added later inherit it.
void prepare_help(CLI::App& verb);

/// The same facts for the flag reference of the documents: a section for the verb and one for each of its sub-verbs,
/// with a table of flags for each group. Nothing in it depends on the machine.
std::string help_as_markdown(const CLI::App& verb, const std::string& name);

}  // namespace lowbit::cli
