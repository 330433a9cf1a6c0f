#include "lowbit/laws/unseen.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "lowbit/base/math.h"
#include "lowbit/laws/bits.h"

namespace lowbit::laws {
namespace {

double cost_of(Law law, double of_format) { return law == Law::additive ? of_format : -math::log(of_format); }

/// Bits of a name such as w3a3 or W3A3, and of no other.
std::optional<double> equal_bits_of(std::string_view name) {
  const auto bits = bits_of(name);
  if (!bits || bits->weight != bits->activation) return std::nullopt;
  const std::string lower = fmt::format("w{0:g}a{0:g}", bits->weight),
                    upper = fmt::format("W{0:g}A{0:g}", bits->weight);
  return name == lower || name == upper ? std::optional(bits->weight) : std::nullopt;
}

}  // namespace

std::optional<Neighbours> neighbours_of(Law law, const Points& points, const Constants& c, std::string_view format) {
  const auto asked = equal_bits_of(format);
  if (!asked) return std::nullopt;
  double fewer_bits = 0, more_bits = std::numeric_limits<double>::infinity();
  Neighbours found;
  for (std::size_t i = 0; i < points.formats.size(); ++i) {
    const auto bits = equal_bits_of(points.formats[i]);
    if (!bits || !(cost_of(law, c.of_format[i]) > 0)) continue;  // also NaN: not among the fitted runs
    if (*bits < *asked && *bits > fewer_bits) {
      fewer_bits = *bits;
      found.fewer = i;
    } else if (*bits > *asked && *bits < more_bits) {
      more_bits = *bits;
      found.more = i;
    }
  }
  if (fewer_bits == 0 || std::isinf(more_bits)) return std::nullopt;
  found.share = (*asked - fewer_bits) / (more_bits - fewer_bits);
  return found;
}

double between_neighbours(Law law, const Constants& c, const Neighbours& n) {
  const double fewer = math::log(cost_of(law, c.of_format[n.fewer])),
               more = math::log(cost_of(law, c.of_format[n.more]));
  const double cost = math::exp(fewer + n.share * (more - fewer));
  return law == Law::additive ? cost : math::exp(-cost);
}

}  // namespace lowbit::laws
