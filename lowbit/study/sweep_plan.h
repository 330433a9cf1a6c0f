#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowbit::study {

/// Flags of a run, without dashes, in order of their names; values as text. "true" stands for a switch that is on.
using Flags = std::vector<std::pair<std::string, std::string>>;

/// One run of a sweep.
struct Cell {
  Flags flags;
  std::string id;     ///< eight hex digits, of the flags alone: the same flags have the same id in every sweep
  std::string name;   ///< "w4a4-seed0-1a2b3c4d": what varies, readable, and the id; a folder's name
  std::string place;  ///< "grid" or "sweep.toml:12", for messages
  /// What varies, for messages: "format=w4a4 seed=0".
  std::string label;
};

/// The cells that a TOML file describes (docs/howto/sweep.md):
///   [fixed]    flags of every cell
///   [grid]     flag = value or list of values: the product of the lists, the last key turning fastest
///   [[cells]]  flags of further cells, over those of [fixed]; lists multiply here too
/// Cells that come twice are taken once. A switch that is false is left out.
struct Plan {
  std::vector<Cell> cells;
  std::vector<std::string> varied;  ///< flags that differ between cells, format and seed first
};

/// throws Error(input, usage) with file and line: no TOML, a table that is none of the three, a value that is neither
/// text, number nor truth, an empty list, a flag that the sweep sets itself (out, resume, threads, ...), no cells, too
/// many.
Plan parse_plan(std::string_view toml, const std::string& where);
Plan read_plan(const std::filesystem::path& file);

}  // namespace lowbit::study
