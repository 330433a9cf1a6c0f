#pragma once
#include <array>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lowbit/laws/constants.h"
#include "lowbit/laws/least.h"
#include "lowbit/laws/points.h"

namespace lowbit::laws {

/// A law over given runs as a least-squares problem: which constants are free, in which parameters they are sought, and
/// the residuals ln(law) - ln(loss) with their derivatives.
///
/// The parameters are chosen so that they hang together little and that units of N and D do not matter: the size term
/// at the middle of the runs' sizes (ln of A N0^-alpha) instead of A, likewise for B, the ln of the factor by which a
/// format raises the size term instead of eff, and k N0^-g instead of k.
class Form {
 public:
  /// Places of the parameters; those of formats follow.
  enum Place : std::size_t { kSize, kAlpha, kData, kBeta, kFloor, kShared, kShared2, kFormats };

  struct Setup {
    Law law = Law::efficiency;
    std::vector<Point> points;  ///< those to fit
    std::vector<std::string> formats;
    std::optional<std::size_t> base;     ///< its eff is 1, its k 0
    std::map<std::string, double> hold;  ///< checked: names of constants, "eff.W4A4", "k.W4A4"
    bool without_data_term = false;      ///< B = 0
  };
  explicit Form(Setup setup);

  const Setup& setup() const { return setup_; }
  std::size_t size() const { return held_.size(); }               ///< parameters, held ones included
  const std::vector<std::size_t>& free() const { return free_; }  ///< places of those that are sought
  Range bounds(std::size_t place) const { return bounds_[place]; }
  /// Names of the free constants: "A", "alpha", "eff.w4a4".
  std::vector<std::string> free_names() const;

  /// A full parameter vector to start from: the held ones as held, A and B fitted by least squares to the rest.
  std::vector<double> start(double alpha, double beta, double floor, double shared) const;
  /// The least cost from a full vector; parameters named in `also_held` keep their values.
  Least solve(std::vector<double> full, const LeastOptions& options, std::span<const std::size_t> also_held = {}) const;

  Constants constants(std::span<const double> full) const;
  /// ln of the law at the points.
  std::vector<double> logs(std::span<const double> full) const;
  /// The same problem on other losses, as a resample needs it: r is logs - these.
  void set_log_losses(std::vector<double> logs) { log_losses_ = std::move(logs); }
  const std::vector<double>& log_losses() const { return log_losses_; }

 private:
  /// ln of the law at a point, and into `row` (size() values, zero before) its derivatives where given. NaN: undefined.
  double log_at(const Point& point, std::span<const double> full, double* row) const;

  Setup setup_;
  double middle_n_ = 0, middle_d_ = 0;  ///< ln; 0 where A or B is held, as the parameter then is ln A or ln B itself
  std::vector<std::optional<double>> held_;  ///< by place, in parameters
  std::vector<double> shift_;                ///< by format: ln of a held eff
  std::vector<std::optional<double>> held_k_;
  std::vector<std::size_t> free_;
  std::vector<Range> bounds_;
  std::vector<double> log_losses_;
};

}  // namespace lowbit::laws
