#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Three laws of the held-out loss L over parameters N, tokens D and format f (docs/explain/laws.md has sources):
//   efficiency   L = A / (N eff_f)^alpha + B / D^beta + E            eff of the base format is 1
//   additive     L = A / N^alpha + B / D^beta + E + k_f N^-g         k of the base format is 0, one g for all
//   bits         the first with eff = (1 - e^(-b_w / gamma_w)) (1 - e^(-b_a / gamma_a)) from a format's bits alone
namespace lowbit::laws {

enum class Law { efficiency, additive, bits };

std::string_view name_of(Law law);
/// throws Error(usage) that lists the laws.
Law parse_law(std::string_view word);

/// What a law is filled with. L in nats per token; N and D in the units of the runs.
struct Constants {
  double A = 0, alpha = 0, B = 0, beta = 0, E = 0;
  double g = 0;                     ///< additive
  double gamma_w = 0, gamma_a = 0;  ///< bits
  std::vector<double> of_format;    ///< eff_f, or k_f under `additive`; one a format
};

/// The law's loss for N, D and the eff or k of a format.
double loss_at(Law law, const Constants& c, double n, double d, double of_format);
/// eff of a format from its bits.
double eff_of_bits(const Constants& c, double weight_bits, double activation_bits);
/// The eff of a format from one run beside its full-precision twin of n parameters and equal tokens, by the size term
/// alone: (1 + n^alpha / A (loss - twin))^(-1 / alpha). NaN where no eff gives that loss.
double eff_beside(const Constants& c, double n, double loss, double twin);

}  // namespace lowbit::laws
