#include "lowbit/machine/bf16_unit.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string_view>

#include "lowbit/base/error.h"
#include "lowbit/machine/isa.h"
#include "lowbit/machine/peak_loops.h"

namespace lowbit {
namespace {

/// Operations per second of one thread: the best of a few short loops, so that a neighbour's work hardly counts.
double rate_of(PeakLoop loop) {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int repeat = 0; repeat < 8; ++repeat) {
    const auto start = Clock::now();
    const auto operations = static_cast<double>(loop(1000));
    best = std::max(best, operations / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

bool measured_to_pay() {
#if defined(__x86_64__)
  const PeakLoops loops = peak_loops_avx512(true, false);
  return bf16_unit_pays(rate_of(loops.bf16), rate_of(loops.f32));
#else
  return false;
#endif
}

std::atomic<Bf16Unit>& choice() {
  static std::atomic<Bf16Unit> value{parse_bf16_unit(std::getenv("LOWBIT_BF16_UNIT"))};
  return value;
}

}  // namespace

Bf16Unit parse_bf16_unit(const char* word) {
  if (!word || !*word) return Bf16Unit::measured;
  const std::string_view text = word;
  if (text == "measured") return Bf16Unit::measured;
  if (text == "on") return Bf16Unit::on;
  if (text == "off") return Bf16Unit::off;
  fail_usage("LOWBIT_BF16_UNIT is '{}'; choose measured, on or off", text);
}

void choose_bf16_unit(Bf16Unit unit) { choice() = unit; }

bool bf16_unit_in_use() {
  if (active_isa() != Isa::avx512 || !cpu_features().avx512_bf16) return false;
  const Bf16Unit unit = choice();
  if (unit != Bf16Unit::measured) return unit == Bf16Unit::on;
  static const bool pays = measured_to_pay();
  return pays;
}

}  // namespace lowbit
