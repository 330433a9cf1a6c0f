#include "lowbit/machine/isa.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

#include "lowbit/base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lowbit {
namespace {

#if defined(__x86_64__)
std::string brand_string() {
  unsigned words[12] = {};
  unsigned highest = 0, unused = 0;
  __cpuid(0x80000000u, highest, unused, unused, unused);
  if (highest < 0x80000004u) return "unknown x86-64 processor";
  for (unsigned i = 0; i < 3; ++i)
    __cpuid(0x80000002u + i, words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
  char text[49] = {};
  std::memcpy(text, words, 48);
  std::string name = text;
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}

CpuFeatures detect() {
  // __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers.
  CpuFeatures f;
  f.name = brand_string();
  f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni");
  f.avx512_bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
  f.avx512_vpopcntdq = f.avx512 && __builtin_cpu_supports("avx512vpopcntdq") &&
                       __builtin_cpu_supports("avx512vbmi");
  return f;
}
#else
CpuFeatures detect() {
  CpuFeatures f;
  f.name = "a processor that is not x86-64";
  return f;
}
#endif

std::optional<Isa> forced;

Isa best() { return cpu_features().avx512 ? Isa::avx512 : cpu_features().avx2 ? Isa::avx2 : Isa::scalar; }

void require_supported(Isa isa, std::string_view who) {
  if (!isa_supported(isa))
    fail_usage("{} asks for {}, which this processor ({}) lacks; the best it has is {}", who, isa_name(isa),
               cpu_features().name, isa_name(best()));
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

bool isa_supported(Isa isa) { return isa <= best(); }

std::string_view isa_name(Isa isa) {
  return isa == Isa::scalar ? "scalar" : isa == Isa::avx2 ? "avx2" : "avx512";
}

Isa isa_by_name(std::string_view name) {
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (name == isa_name(isa)) return isa;
  fail_usage("unknown instruction set '{}'; choose scalar, avx2 or avx512", name);
}

Isa active_isa() {
  if (forced) return *forced;
  static const Isa chosen = [] {
    const char* name = std::getenv("LOWBIT_ISA");
    if (!name || !*name) return best();
    const Isa isa = isa_by_name(name);
    require_supported(isa, "LOWBIT_ISA");
    return isa;
  }();
  return chosen;
}

void force_isa(Isa isa) {
  require_supported(isa, "--isa");
  forced = isa;
}

}  // namespace lowbit
