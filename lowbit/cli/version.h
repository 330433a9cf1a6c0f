#pragma once
#include <string>

#include "lowbit/cli/command.h"

namespace lowbit::cli {

/// Several lines: version, commit ("unknown" outside a git checkout), compiler and build type, instruction sets
/// compiled and the one in use, libtorch where the program has it. throws Error(usage): LOWBIT_ISA names one that is
/// not there.
std::string version_text(const ProgramInfo& program);

}  // namespace lowbit::cli
