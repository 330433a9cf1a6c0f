#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

// What a run was trained and evaluated on, by content: a run goes on with the same data under any path, and with no
// other.
namespace lowbit::files {

/// Name of a part ("train", "valid", "batches", "eval-batches", "distill") and its hash, 16 hexadecimal digits.
using DataIdentity = std::vector<std::pair<std::string, std::string>>;

/// Where a run's data lies; empty where it has none of that kind.
struct DataPaths {
  std::filesystem::path data;          ///< data folder: train.lbd and valid.lbd
  std::filesystem::path batches;       ///< raw windows
  std::filesystem::path eval_batches;
  std::filesystem::path distill;       ///< model folder or run folder of the teacher
};

/// Shards by the hash of their header, which fixes all of their bytes; other files by the hash of their bytes (read
/// once). throws Error(input): a file is missing or damaged.
DataIdentity identity_of(const DataPaths& paths);

/// The first part in which `now` is other data than `recorded`, or "". Parts that `recorded` lacks are not known, and
/// so not compared: earlier versions recorded none.
std::string other_data(const DataIdentity& recorded, const DataIdentity& now);

}  // namespace lowbit::files
