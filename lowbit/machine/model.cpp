#include "lowbit/machine/model.h"

#include <algorithm>

namespace lowbit {
namespace {

// A level holds what is read next to other things: stacks, rows of activations, the outputs.
constexpr double kUsable = 0.875;

// Operations a cycle: f32, bf16, int8, binary; bytes a cycle: L1, L2, L3, memory. Zen 4's, which do 512 bits in two
// halves; others differ, but the ratios less.
struct PerCycle {
  double f32, bf16, int8, binary, l1, l2, l3, memory, lanes;
};
PerCycle per_cycle(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return {32, 64, 128, 650, 57, 31, 21, 5, 16};
    case Isa::avx2:
      return {32, 32, 64, 170, 57, 31, 21, 5, 8};
    default:
      return {1, 1, 2, 10, 8, 8, 8, 5, 1};
  }
}
constexpr double kTypicalClock = 3e9;

/// Shifts, masks and additions of vectors a second, reckoned from the multiply-adds: an fma is two operations in each
/// lane, and where one fma starts two of them do.
double instruction_rate(const Rates& rates) { return rates.rate(Ceiling::f32) / per_cycle(active_isa()).lanes; }

}  // namespace

Rates rates_of(const Ceilings& ceilings, int threads) {
  Rates rates;
  rates.caches = ceilings.caches;
  rates.threads = threads;
  const double part = ceilings.threads > 1 ? static_cast<double>(threads - 1) / (ceilings.threads - 1) : 0;
  for (std::size_t i = 0; i < kCeilings; ++i)
    rates.of[i] = ceilings.one[i].median + part * (ceilings.all[i].median - ceilings.one[i].median);
  return rates;
}

Rates typical_rates(Isa isa, int threads) {
  const PerCycle p = per_cycle(isa);
  const double cycles = kTypicalClock * threads;
  Rates rates;
  // Two threads nearly fill the memory's bandwidth.
  rates.of = {cycles,          p.f32 * cycles,    p.bf16 * cycles,
              p.int8 * cycles, p.binary * cycles, p.l1 * cycles,
              p.l2 * cycles,   p.l3 * cycles,     p.memory * kTypicalClock * std::min(threads, 2)};
  rates.caches = cache_sizes();
  rates.threads = threads;
  return rates;
}

Ceiling level_of(const Rates& rates, double resident) {
  const double share = resident / rates.threads;
  if (share <= kUsable * static_cast<double>(rates.caches.l1)) return Ceiling::l1;
  if (share <= kUsable * static_cast<double>(rates.caches.l2)) return Ceiling::l2;
  return resident <= kUsable * static_cast<double>(rates.caches.l3) ? Ceiling::l3 : Ceiling::memory;
}

Estimate estimate(const Rates& rates, const Work& work) {
  Estimate e;
  e.unit = work.unit;
  e.level = level_of(rates, work.resident);
  e.compute_seconds = std::max(work.operations / rates.rate(work.unit), work.instructions / instruction_rate(rates));
  e.read_seconds = work.bytes / rates.rate(e.level);
  return e;
}

}  // namespace lowbit
