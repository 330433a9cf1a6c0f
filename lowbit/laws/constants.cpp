#include "lowbit/laws/constants.h"

#include "lowbit/base/error.h"
#include "lowbit/base/math.h"

namespace lowbit::laws {

std::string_view name_of(Law law) {
  switch (law) {
    case Law::efficiency:
      return "efficiency";
    case Law::additive:
      return "additive";
    case Law::bits:
      return "bits";
  }
  return "";
}

Law parse_law(std::string_view word) {
  for (const Law law : {Law::efficiency, Law::additive, Law::bits})
    if (word == name_of(law)) return law;
  fail_usage("unknown --law '{}'; choose efficiency, additive or bits", word);
}

double loss_at(Law law, const Constants& c, double n, double d, double of_format) {
  const double data = c.B > 0 ? c.B * math::pow(d, -c.beta) : 0;
  if (law == Law::additive) return c.A * math::pow(n, -c.alpha) + data + c.E + of_format * math::pow(n, -c.g);
  return c.A * math::pow(n * of_format, -c.alpha) + data + c.E;
}

double eff_of_bits(const Constants& c, double weight_bits, double activation_bits) {
  return (1 - math::exp(-weight_bits / c.gamma_w)) * (1 - math::exp(-activation_bits / c.gamma_a));
}

double eff_beside(const Constants& c, double n, double loss, double twin) {
  return math::pow(1 + math::pow(n, c.alpha) / c.A * (loss - twin), -1 / c.alpha);
}

}  // namespace lowbit::laws
