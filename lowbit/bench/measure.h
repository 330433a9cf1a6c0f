#pragma once
#include <functional>

#include "lowbit/machine/ceilings.h"

namespace lowbit::bench {

/// Work and a ceiling, measured in turns in the same run.
struct Beside {
  Figure seconds;  ///< of one call of the work
  Figure ceiling;  ///< per second
  Figure share;    ///< of the pairs: what the work did per second over the ceiling beside it
  Load load;
  /// Worth no more than a lower bound: others used the processors, or the rounds differ by more than a half of the
  /// median.
  bool busy() const { return load.busy() || seconds.spread() > 0.5; }
};

/// Per round: the ceiling, the work, the ceiling again (the pair takes the mean of both). Seconds are the processor's
/// for one thread, so that other programs count less, and the clock's for several. amount   what one call of the work
/// does, in what the ceiling counts.  throws Interrupted.
Beside measure_beside(Executor& executor, CeilingMeter& meter, Ceiling ceiling, int rounds, double amount,
                      const std::function<void()>& work);

/// How much a second, of work that does `amount` in so many seconds; {} for none.
Figure rate_of(const Figure& seconds, double amount);

}  // namespace lowbit::bench
