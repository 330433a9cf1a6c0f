#pragma once
#include <toml++/toml.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace lowbit::files {

/// Most bytes of a TOML file: flags of a verb, cells of a sweep.
inline constexpr std::size_t kMaxTomlBytes = std::size_t{1} << 20;

/// The table that `text` holds. toml++ frees nested tables by recursion and sets no limit to dotted keys, so the text
/// is looked through before it is parsed. where: the file, for errors. throws Error(input): not TOML (with the line),
/// larger than kMaxTomlBytes, a key of more than 32 parts, or brackets nested more than 32 deep.
toml::table parse_toml(std::string_view text, const std::string& where);

}  // namespace lowbit::files
