#include "lowbit/laws/budget.h"

#include <algorithm>
#include <cmath>

#include "lowbit/base/math.h"
#include "lowbit/laws/bits.h"

namespace lowbit::laws {
namespace {

Choice choice(const Fit& fit, std::size_t format, double bits, double bytes, double flops) {
  const double n = 8 * bytes / bits, d = flops / (6 * n);
  return {format, bits, n, d, fit.loss(n, d, format)};
}

}  // namespace

std::vector<Choice> choices(const Fit& fit, double bytes, double flops) {
  std::vector<Choice> all;
  for (std::size_t f = 0; f < fit.points.formats.size(); ++f) {
    const auto bits = bits_of(fit.points.formats[f]);
    if (bits && std::isfinite(fit.c.of_format[f])) all.push_back(choice(fit, f, bits->weight, bytes, flops));
  }
  std::stable_sort(all.begin(), all.end(), [](const Choice& a, const Choice& b) { return a.loss < b.loss; });
  return all;
}

std::vector<Crossing> crossings(const Fit& fit, double bytes, std::size_t* first) {
  const double full = bytes / 2;  // parameters of the 16-bit model
  const auto flops_at = [&](double ratio) { return 6 * full * full * ratio; };
  const auto best = [&](double log_ratio) {
    const auto all = choices(fit, bytes, flops_at(math::exp(log_ratio)));
    return all.empty() ? std::optional<std::size_t>() : all.front().format;
  };
  std::vector<Crossing> found;
  const double low = math::log(0.1), high = math::log(1e6);
  constexpr int steps = 800;  // 2 % apart: a format that leads for less is no choice
  auto last = best(low);
  if (!last) return found;
  if (first) *first = *last;
  for (int i = 1; i <= steps; ++i) {
    double a = low + (high - low) * (i - 1) / steps, b = low + (high - low) * i / steps;
    const auto next = best(b);
    if (next == last) continue;
    for (int halving = 0; halving < 50; ++halving) {
      const double middle = 0.5 * (a + b);
      (best(middle) == last ? a : b) = middle;
    }
    const double ratio = math::exp(b);
    found.push_back({ratio, flops_at(ratio), *last, *next});
    last = next;
  }
  return found;
}

std::optional<std::size_t> best_per_bit(const Fit& fit, double n) {
  std::optional<std::size_t> best;
  double most = -INFINITY;
  for (std::size_t f = 0; f < fit.points.formats.size(); ++f) {
    const auto bits = bits_of(fit.points.formats[f]);
    if (!bits || !std::isfinite(fit.c.of_format[f])) continue;
    const double value = fit.eff(f, n) / bits->weight;
    if (value > most) most = value, best = f;
  }
  return best;
}

}  // namespace lowbit::laws
