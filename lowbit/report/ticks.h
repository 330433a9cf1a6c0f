#pragma once
#include <span>
#include <string>
#include <vector>

namespace lowbit::report {

/// How an axis maps values to the unit interval, with its ticks. On a log axis all values are positive.
struct Scale {
  double low = 0, high = 1;
  bool log = false;
  std::vector<double> ticks;        ///< ascending, within [low, high]
  std::vector<std::string> labels;  ///< one a tick

  /// 0 at low, 1 at high, beyond them outside [0, 1]. NaN for NaN, for infinities, and on a log axis for x <= 0.
  double position(double value) const;
};

/// What a tick label says.
enum class TickText {
  plain,    ///< 0.25, 12k, 3M, 2e-5
  percent,  ///< shares as 25 %
};

/// A scale over [low, high] with about `wanted` ticks at 1, 2, 2.5 or 5 times a power of ten. With `grow` the ends move
/// out, to a tick where one is near. Equal or unusable ends are widened, so the result always has low < high and two
/// ticks or more.
Scale linear_scale(double low, double high, int wanted, TickText text = TickText::plain, bool grow = true);

/// A scale over [low, high], both positive, with ticks at powers of ten, and at 2 and 5 times them where there is room;
/// a range too short for those gets linear ticks on the log scale.
Scale log_scale(double low, double high, int wanted, TickText text = TickText::plain);

/// Tick labels, all with the decimals that keep neighbours apart.
std::vector<std::string> tick_labels(std::span<const double> ticks, TickText text);

}  // namespace lowbit::report
