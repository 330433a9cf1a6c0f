#pragma once
#include <cstddef>
#include <optional>
#include <string_view>

#include "lowbit/laws/constants.h"
#include "lowbit/laws/points.h"

namespace lowbit::laws {

/// Two fitted formats between whose bits another lies, and how far it lies from `fewer` to `more` (0 to 1).
struct Neighbours {
  std::size_t fewer = 0, more = 0;
  double share = 0;
};

/// The nearest formats on both sides of one that was not run. Only names with equal bits for weights and activations
/// and nothing else (w3a3) are compared, and only formats that cost something, that is with eff < 1 or k > 0.
std::optional<Neighbours> neighbours_of(Law law, const Points& points, const Constants& c, std::string_view format);

/// Its eff or k: the logarithm of what a format costs (k, or -ln eff) runs straight between the neighbours. NaN where a
/// neighbour costs nothing. Published effs follow it: .435 for W3A3 from W4A4 and W2A2, where .433 was fitted.
double between_neighbours(Law law, const Constants& c, const Neighbours& neighbours);

}  // namespace lowbit::laws
