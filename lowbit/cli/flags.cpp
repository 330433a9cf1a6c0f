#include <utility>

#include "lowbit/cli/command.h"

namespace lowbit::cli {

#define LOWBIT_OPTION(Type)                                                                                 \
  CLI::Option* add_option(CLI::App& parser, std::string names, Type& value, std::string help) {             \
    return parser.add_option(std::move(names), value, std::move(help));                                     \
  }
LOWBIT_OPTION(std::string)
LOWBIT_OPTION(int)
LOWBIT_OPTION(std::int64_t)
LOWBIT_OPTION(std::uint64_t)
LOWBIT_OPTION(double)
LOWBIT_OPTION(std::filesystem::path)
LOWBIT_OPTION(std::vector<std::filesystem::path>)
LOWBIT_OPTION(std::vector<std::string>)
#undef LOWBIT_OPTION

CLI::Option* add_flag(CLI::App& parser, std::string names, bool& value, std::string help) {
  return parser.add_flag(std::move(names), value, std::move(help));
}

}  // namespace lowbit::cli
