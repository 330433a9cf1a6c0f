#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lowbit/report/metrics.h"
#include "lowbit/study/runs.h"

namespace lowbit::study {

/// A mean with its 95 % interval over seeds (Student's t); no interval of one value.
struct Mean {
  double value = report::kUnknown;
  report::Interval interval;
  std::size_t count = 0;
};
Mean mean_of(const std::vector<double>& values);

/// Finished runs that differ in their seed alone.
struct Group {
  std::string format;  ///< as Run::format
  double parameters = 0, tokens = 0;
  std::vector<const Run*> runs;  ///< in the order of their seeds
  Mean loss;                     ///< held out, nats per token
  Mean gap;  ///< loss minus that of full precision of the same size, tokens and additions (gain, teacher)
  double seconds = report::kUnknown;  ///< of training, mean
  double bytes = 0;                   ///< as stored

  bool full_precision() const;
};

/// Groups by size, tokens and format, in that order, full precision first. Gaps are to the full-precision group of
/// least mean loss, NaN without one; where each seed has a twin there, the interval is that of the paired differences,
/// otherwise of the loss's own spread about that mean.
std::vector<Group> groups_of(const std::vector<Run>& runs);

/// The size and tokens at which most formats were run (the larger of equals); what a page compares formats at.
struct Place {
  double parameters = 0, tokens = 0;
};
std::optional<Place> fullest_place(const std::vector<Group>& groups);

}  // namespace lowbit::study
