#include "lowbit/report/ticks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lowbit::report {
namespace {

// Beyond these a plot is no use, and differences and products below could overflow or vanish.
constexpr double kLargest = 1e150;
constexpr double kSmallest = 1e-150;

double nice_step(double span, int wanted) {
  const double raw = span / std::max(1, wanted);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (factor * power >= raw * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

std::string strip_exponent(std::string text) {  // "2e-05" to "2e-5", "2e+08" to "2e8"
  const std::size_t e = text.find('e');
  return e == std::string::npos ? text : text.substr(0, e) + "e" + std::to_string(std::stoi(text.substr(e + 1)));
}

std::string with_minus(const std::string& text) { return text[0] == '-' ? "−" + text.substr(1) : text; }

}  // namespace

double Scale::position(double value) const {
  if (!std::isfinite(value) || (log && value <= 0)) return std::numeric_limits<double>::quiet_NaN();
  if (log) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

std::vector<std::string> tick_labels(std::span<const double> ticks, TickText text) {
  std::vector<std::string> labels;
  if (ticks.empty()) return labels;
  const double scale_by = text == TickText::percent ? 100 : 1;
  double largest = 0, step = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < ticks.size(); ++i) {
    largest = std::max(largest, std::abs(ticks[i]) * scale_by);
    if (i > 0) step = std::min(step, std::abs(ticks[i] - ticks[i - 1]) * scale_by);
  }
  const char* suffix = "";
  double unit = 1;
  const bool tiny = largest > 0 && (largest < 1e-3 || (std::isfinite(step) && step < 1e-5));
  if (text == TickText::percent) {
    suffix = " %";
  } else if (largest >= 1e15) {
    // Powers of ten below.
  } else if (largest >= 1e12) {
    suffix = "T", unit = 1e12;
  } else if (largest >= 1e9) {
    suffix = "G", unit = 1e9;
  } else if (largest >= 1e6) {
    suffix = "M", unit = 1e6;
  } else if (largest >= 1e4) {
    suffix = "k", unit = 1e3;
  }
  for (const double tick : ticks) {
    const double value = tick * scale_by;
    if (value == 0) {
      labels.push_back(text == TickText::percent ? "0 %" : "0");
    } else if (tiny || largest >= 1e15) {
      labels.push_back(with_minus(strip_exponent(fmt::format("{:.3g}", value)) + suffix));
    } else {
      // The fewest decimals that show the value: ticks are round, so few are needed.
      std::string shown;
      for (int decimals = 0; decimals <= 6; ++decimals) {
        shown = fmt::format("{:.{}f}", value / unit, decimals);
        if (std::abs(std::stod(shown) - value / unit) <= 1e-3 * std::min(std::abs(value), step) / unit) break;
      }
      labels.push_back(with_minus(shown + suffix));
    }
  }
  // Linear neighbours read best with equal decimals: 0.5, 1.0, 1.5.
  const double span = std::abs(ticks.back() - ticks.front()) * scale_by;
  const bool even =
      ticks.size() > 1 && !tiny && largest < 1e15 && span <= step * (static_cast<double>(ticks.size()) - 0.5);
  if (even) {
    std::size_t decimals = 0;
    for (const std::string& label : labels)
      if (const std::size_t point = label.find('.'); point != std::string::npos)
        decimals = std::max(decimals, label.size() - point - 1 - std::string_view(suffix).size());
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (ticks[i] != 0) labels[i] = with_minus(fmt::format("{:.{}f}{}", ticks[i] * scale_by / unit, decimals, suffix));
  }
  return labels;
}

Scale linear_scale(double low, double high, int wanted, TickText text, bool grow) {
  low = std::isfinite(low) ? std::clamp(low, -kLargest, kLargest) : 0;
  high = std::isfinite(high) ? std::clamp(high, -kLargest, kLargest) : 1;
  if (low > high) std::swap(low, high);
  // A range that is nothing beside its values (equal values, or equal up to rounding) is widened.
  const double size = std::max(std::abs(low), std::abs(high));
  if (high - low <= 1e-9 * size || high - low < kSmallest) {
    const double pad = size > kSmallest ? 0.1 * size : 1;
    low -= pad;
    high += pad;
  }
  const double step = nice_step(high - low, wanted);
  Scale scale;
  if (grow) {
    // To the next tick where that is near; else a little room, not an empty band.
    const double below = std::floor(low / step + 1e-9) * step, above = std::ceil(high / step - 1e-9) * step;
    low = low - below < 0.45 * step ? below : low - 0.1 * step;
    high = above - high < 0.45 * step ? above : high + 0.1 * step;
  }
  scale.low = low;
  scale.high = high;
  // A range that does not begin at a tick may hold fewer than two of this step: then a finer one.
  for (double finer = step; scale.ticks.size() < 2; finer = nice_step(finer / 2, 1)) {
    scale.ticks.clear();
    const double first = std::ceil(low / finer - 1e-9), last = std::floor(high / finer + 1e-9);
    for (double i = first; i <= last && scale.ticks.size() < 100; ++i) {
      const double tick = i * finer;
      scale.ticks.push_back(std::clamp(tick == 0 ? 0.0 : tick, low, high));  // no -0
    }
  }
  scale.labels = tick_labels(scale.ticks, text);
  return scale;
}

Scale log_scale(double low, double high, int wanted, TickText text) {
  low = std::isfinite(low) ? std::clamp(low, kSmallest, kLargest) : 1;
  high = std::isfinite(high) ? std::clamp(high, kSmallest, kLargest) : 10;
  if (low > high) std::swap(low, high);
  if (high <= low * 1.001) {
    low /= 2;
    high *= 2;
  }
  const double decades = std::log10(high / low);
  if (decades < 0.7) {  // less than a factor of 5: round numbers spread evenly read better
    Scale scale = linear_scale(low, high, wanted, text, false);
    scale.log = true;
    return scale;
  }
  Scale scale;
  scale.low = low;
  scale.high = high;
  scale.log = true;
  const int first = static_cast<int>(std::floor(std::log10(low))), last = static_cast<int>(std::ceil(std::log10(high)));
  const int every = std::max(1, static_cast<int>(std::ceil(decades / std::max(2, wanted))));
  const bool between = every == 1 && decades * 3 <= wanted + 2;
  for (int power = first; power <= last; ++power) {
    if (every > 1 && power % every != 0) continue;
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor > 1 && !between) break;
      const double tick = factor * std::pow(10.0, power);
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) scale.ticks.push_back(std::clamp(tick, low, high));
    }
  }
  if (scale.ticks.size() < 2) {
    scale.ticks = {low, high};
  }
  scale.labels = tick_labels(scale.ticks, text);
  return scale;
}

}  // namespace lowbit::report
