#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/machine/caches.h"
#include "lowbit/machine/isa.h"
#include "lowbit/machine/load.h"

namespace lowbit {

/// What bounds a computation: how fast numbers are multiplied, or how fast they are read.
enum class Ceiling {
  clock,   ///< cycles per second under load, of one thread (all: their sum)
  f32,     ///< fma on float32 vectors, operations per second; a multiply and an add are two
  bf16,    ///< vdpbf16ps, or what stands in for it
  int8,    ///< vpdpbusd, or what stands in for it (vpmaddubsw and vpaddw)
  binary,  ///< xor, popcount and add; an operation on a bit counts one, so a product of two signs counts two
  l1,      ///< reading the first cache, bytes per second
  l2,
  l3,  ///< where there is no third cache, the memory
  memory,
};
inline constexpr std::size_t kCeilings = 9;
/// "int8", "memory"
std::string_view ceiling_name(Ceiling ceiling);
/// "GOP/s", "GB/s" or "GHz": a rate in units of 1e9.
std::string_view ceiling_unit(Ceiling ceiling);

/// A quantity measured in several rounds.
struct Figure {
  double median = 0, lowest = 0, highest = 0;
  /// (highest - lowest) / median, or 0.
  double spread() const { return median > 0 ? (highest - lowest) / median : 0; }
};
/// throws nothing; {} for no values.
Figure figure_of(std::vector<double> values);

using CeilingTable = std::array<Figure, kCeilings>;

/// The ceilings of one machine under one instruction set.
struct Ceilings {
  std::string processor;
  Isa isa = Isa::scalar;
  int threads = 1;
  CacheSizes caches;
  CeilingTable one, all;  ///< of one thread, and of all `threads` together
  Load load;              ///< while it was measured
  const Figure& one_of(Ceiling c) const { return one[static_cast<std::size_t>(c)]; }
  const Figure& all_of(Ceiling c) const { return all[static_cast<std::size_t>(c)]; }
};

/// Measures one ceiling at a time, on all threads of an executor, as often as one likes: to put it beside other work in
/// the same run. Holds memory four times as large as the third cache.
class CeilingMeter {
 public:
  /// What a second is.
  enum class Timing {
    processor,  ///< each thread's own processor time, so that other programs count less: what the machine could do
    clock,      ///< from the start of the first thread to the end of the last: what it did
  };
  /// seconds   what one measurement is to take.
  explicit CeilingMeter(Executor& executor, double seconds = 0.004);
  ~CeilingMeter();
  /// Operations, bytes or cycles per second over all threads.
  double rate(Ceiling ceiling, Timing timing);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Every ceiling in each of `rounds` rounds, one thread and all; takes about 8 ms a round and ceiling.
/// throws Interrupted.
Ceilings measure_ceilings(Executor& executor, int rounds = 9);

}  // namespace lowbit
