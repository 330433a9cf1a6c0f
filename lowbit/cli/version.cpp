#include "lowbit/cli/version.h"

#include "lowbit/base/error.h"
#include "lowbit/machine/isa.h"
#include "lowbit_commit.h"  // made by cmake/version.cmake

namespace lowbit::cli {
namespace {

#if defined(__clang__)
constexpr char kCompiler[] = "Clang " __clang_version__;
#elif defined(__GNUC__)
constexpr char kCompiler[] = "GCC " __VERSION__;
#else
constexpr char kCompiler[] = "unknown";
#endif

}  // namespace

std::string version_text(const ProgramInfo& program) {
  std::string compiled(isa_name(Isa::scalar));
#if defined(__x86_64__)
  for (const Isa isa : {Isa::avx2, Isa::avx512}) compiled += fmt::format(", {}", isa_name(isa));
#endif
  std::string text = fmt::format("{} {}\n", program.name, LOWBIT_VERSION);
  const auto line = [&](std::string_view name, std::string_view value) {
    text += fmt::format("{:<18}{}\n", name, value);
  };
  line("commit", LOWBIT_COMMIT);
  line("compiler", kCompiler);
  line("build type", LOWBIT_BUILD_TYPE);
  line("instruction sets", compiled);
  line("in use", fmt::format("{} on {}", isa_name(active_isa()), cpu_features().name));
  if (!program.libtorch.empty()) line("libtorch", program.libtorch);
  return text;
}

}  // namespace lowbit::cli
