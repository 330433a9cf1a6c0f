#pragma once
#include <array>

#include "lowbit/machine/ceilings.h"

namespace lowbit {

/// The ceilings as one number each: what the small machine model below reckons with.
struct Rates {
  std::array<double, kCeilings> of{};  ///< per second, over `threads` threads
  CacheSizes caches;
  int threads = 1;
  double rate(Ceiling c) const { return of[static_cast<std::size_t>(c)]; }
};
/// Medians of what was measured. threads: 1 or ceilings.threads; between them in proportion.
Rates rates_of(const Ceilings& ceilings, int threads);
/// Where nothing was measured yet: usual operations per cycle of an instruction set. For choosing among kernels, which
/// asks for ratios only.
Rates typical_rates(Isa isa, int threads);

/// What a computation has to do.
struct Work {
  Ceiling unit = Ceiling::f32;  ///< under which ceiling it multiplies
  double operations = 0;        ///< as that ceiling counts them
  double instructions = 0;      ///< vector instructions beside those operations: unpacking, widening
  double bytes = 0;             ///< read and written
  double resident = 0;          ///< bytes that are gone through before one of them is read again: decides the level
};

/// The level that so many bytes lie in when they are read again and again, shared by the threads.
Ceiling level_of(const Rates& rates, double resident);

/// time = max(operations / rate, instructions / rate, bytes / bandwidth): what multiplies, what unpacks or the reading
/// is busy all the time, and the others hide behind it.
struct Estimate {
  double compute_seconds = 0, read_seconds = 0;
  Ceiling unit = Ceiling::f32, level = Ceiling::memory;
  double seconds() const { return compute_seconds > read_seconds ? compute_seconds : read_seconds; }
  /// What bounds it.
  Ceiling bound() const { return compute_seconds > read_seconds ? unit : level; }
};
Estimate estimate(const Rates& rates, const Work& work);

}  // namespace lowbit
