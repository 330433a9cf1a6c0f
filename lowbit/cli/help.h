#pragma once
#include <CLI/CLI.hpp>

namespace lowbit::cli {

/// Gives a verb the help that all verbs share: -h and --help, defaults shown, descriptions wrapped. Call it before flags
/// are added; sub-verbs added later inherit it.
void prepare_help(CLI::App& verb);

}  // namespace lowbit::cli
