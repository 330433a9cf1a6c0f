#pragma once
#include <string>

#include "lowbit/report/metrics.h"

namespace lowbit::report {

/// What was measured and allotted, a line a layer: for the terminal, no line feed at the end.
std::string bits_table(const BitsRecord& record);

}  // namespace lowbit::report
