#pragma once
#include <vector>

#include "lowbit/laws/fit.h"
#include "lowbit/laws/form.h"

namespace lowbit::laws {

/// Fills in what a fit says of itself: its constants and whether the runs tell them, intervals, answers, notes.
/// found  solutions of the form, best first; result.c is the first's.
void judge(Fit& result, Form form, const std::vector<Least>& found);

}  // namespace lowbit::laws
