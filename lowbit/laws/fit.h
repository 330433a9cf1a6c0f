#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lowbit/laws/constants.h"
#include "lowbit/laws/points.h"

namespace lowbit::laws {

/// A loss to foretell.
struct Question {
  double n = 0, d = 0;
  std::string format;
};

struct FitOptions {
  Law law = Law::efficiency;
  std::string base;                    ///< format whose eff is 1; empty: bf16, else another of full precision
  std::map<std::string, double> hold;  ///< A, alpha, B, beta, E, g, gamma_w, gamma_a, eff.FORMAT, k.FORMAT
  std::optional<double> fit_below;     ///< runs with N of this and more are foretold, not fitted
  double huber = 1e-3;                 ///< delta, on residuals of the log-loss
  int bootstrap = 200;                 ///< resamples; 0: no intervals
  std::uint64_t seed = 0;
  double level = 0.9;  ///< of the intervals
  std::vector<Question> questions;
};

struct Between {
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;
};

/// One constant of a law as it was found.
struct Found {
  std::string name;  ///< "alpha", "eff.w4a4"
  double value = 0;
  bool held = false;
  bool told = true;  ///< whether the runs say what it is; otherwise `why` they do not
  std::string why;
  Between interval;  ///< NaN where held or without a bootstrap
};

struct Answer {
  Question question;
  double loss = 0;
  Between interval;  ///< for one new run: of the law and of a run about it
};

struct Fit {
  FitOptions options;
  Points points;
  std::optional<std::size_t> base;
  Constants c;
  std::vector<bool> fitted;            ///< by point; the others are held out
  std::vector<double> foretold;        ///< by point: the law's loss; NaN where its format was not fitted
  std::vector<Found> constants;        ///< those of the law, without formats
  std::vector<Found> of_format;        ///< by format
  double rms = 0, log_rms = 0;         ///< of the fitted runs, in nats and of the log-loss
  std::optional<double> held_out_rms;  ///< of the others, in nats
  std::size_t held_out = 0;
  double middle_n = 0;             ///< geometric mean of the fitted sizes: where `additive` has its eff
  std::vector<std::string> notes;  ///< what a reader must know, one sentence each
  std::vector<Answer> answers;

  /// The law's loss; of_format by place.
  double loss(double n, double d, std::size_t format) const;
  /// Effective share of parameters of a format: eff, or under `additive` the eff that says the same at size n.
  double eff(std::size_t format, double n) const;
};

/// Fits a law to runs: a bounded Huber fit on residuals of the log-loss (Hoffmann et al. 2022) from a grid of starts;
/// what cannot be told from the runs is said (docs/explain/laws.md, "What is told"); intervals by resampling residuals.
/// Deterministic: the same runs and options give the same bytes.
/// throws Error(usage): a constant to hold that the law does not have or that is out of range, a format not among the
/// runs.
///        Error(input): too few runs, one size only, no base format: with what is missing.
Fit fit(Points points, FitOptions options);

}  // namespace lowbit::laws
