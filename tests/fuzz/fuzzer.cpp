// libFuzzer's entry for one target, which LOWBIT_FUZZ_TARGET names.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "fuzz/targets.h"
#include "lowbit/base/executor.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const lowbit::FlushDenormals flush;
  static const lowbit::fuzz::Target* const target = [] {
    for (const lowbit::fuzz::Target& known : lowbit::fuzz::targets())
      if (known.name == LOWBIT_FUZZ_TARGET) return &known;
    std::abort();
  }();
  lowbit::fuzz::run(*target, {reinterpret_cast<const char*>(data), size});
  return 0;
}
