#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lowbit/laws/fit.h"
#include "lowbit/study/groups.h"

namespace lowbit::study {

struct PageOptions {
  std::string title = "Study";
  std::string remark;    ///< a sentence about all runs, below the title; may be empty
  laws::FitOptions fit;  ///< of the laws; its `law` is not read: both are tried
};

/// One page over many runs: a whole HTML document, well-formed XML, that loads nothing from elsewhere. Sections appear
/// for which the runs hold data. Runs that are not done are listed, and count for nothing else.
std::string study_page(const std::vector<Run>& runs, const PageOptions& options = {});

}  // namespace lowbit::study
