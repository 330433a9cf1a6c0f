#include "lowbit/model/schedule.h"

#include <algorithm>
#include <cassert>

#include "lowbit/base/math.h"

namespace lowbit::model {
namespace {

/// `part` of the way from one value to the other along half a cosine.
double cosine(double from, double to, double part) {
  constexpr double kPi = 3.14159265358979323846;
  return to + (from - to) / 2 * (math::cos(kPi * part) + 1);
}

}  // namespace

double one_cycle_cosine(std::int64_t step, std::int64_t total, std::int64_t warmup, double peak, double final) {
  assert(step >= 0 && total > 0 && warmup >= 0 && warmup <= total);
  const std::int64_t top = std::max<std::int64_t>(warmup, 1) - 1, last = total - 1;
  if (step <= top)
    return top == 0 ? peak : cosine(peak / 100, peak, static_cast<double>(step) / static_cast<double>(top));
  const double part =
      static_cast<double>(std::min(step, last) - top) / static_cast<double>(std::max(last - top, std::int64_t{1}));
  return cosine(peak, peak * final, part);
}

double wsd(std::int64_t step, std::int64_t total, std::int64_t warmup, std::int64_t cooldown, double peak) {
  assert(step >= 0 && total > 0 && warmup >= 0 && cooldown >= 0 && warmup + cooldown <= total);
  step = std::min(step, total - 1);
  if (step < warmup) return peak * (static_cast<double>(step + 1) / static_cast<double>(warmup));
  const std::int64_t into = step - (total - cooldown);
  if (into < 0) return peak;
  return peak * (1 - math::sqrt(static_cast<double>(into) / static_cast<double>(cooldown)));
}

}  // namespace lowbit::model
