#pragma once
#include <string_view>

namespace lowbit::text {

/// Checks a SentencePiece model's table of replacements (NormalizerSpec.precompiled_charsmap): uint32 size of a trie,
/// the trie as darts-clone's double array of uint32 units, then the replacements, each ended by a NUL. The library
/// follows the units without looking at the array's size, and keeps at most 32 matches of a place on its stack. where:
/// the file, for errors. throws Error(input): cut short, or a path that leaves the array, does not end, has more than
/// 32 matches, or names a replacement that is not there or not UTF-8.
void check_charsmap(std::string_view table, std::string_view where);

}  // namespace lowbit::text
