#pragma once
#include <filesystem>
#include <functional>
#include <string_view>

#include "lowbit/files/json.h"
#include "lowbit/machine/ceilings.h"

namespace lowbit::bench {

files::Json json_of(const Figure& figure);
files::Json json_of(const Ceilings& ceilings);
/// The reverse. throws Error(input): not what json_of wrote.
Ceilings parse_ceilings(const files::Json& json, std::string_view where);

/// Where the ceilings of this processor, under this instruction set with so many threads, measured by this version of
/// the program, are kept: a file in $XDG_CACHE_HOME/lowbit or ~/.cache/lowbit; empty where neither can be told.
std::filesystem::path ceiling_file(int threads);

/// The kept ceilings, or (`fresh`, none kept, or what is kept is damaged or another machine's) measured now and kept.
/// A folder that cannot be written keeps nothing. say: told in one line what was done where that is worth telling.
Ceilings kept_or_measured_ceilings(Executor& executor, int rounds, bool fresh,
                                   const std::function<void(std::string_view)>& say);

/// Makes nn choose kernels by the kept ceilings of this machine where there are any for so many threads. Silent:
/// without them it goes by typical ones, and the results are the same.
void use_kept_rates(int threads);

}  // namespace lowbit::bench
