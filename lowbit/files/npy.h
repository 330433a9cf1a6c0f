#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "lowbit/base/file_write.h"

// NumPy's .npy, version 1.0, little-endian float32 in row-major order (docs/reference/formats.md, ".npy").
namespace lowbit::files {

/// Writes a matrix [rows, columns] row by row; how many rows is known last. Under its name only once finish() returned.
class NpyWriter {
 public:
  /// throws Error(failed): the folder cannot be written.
  NpyWriter(const std::filesystem::path& path, std::size_t columns);
  /// values  any number of whole rows (asserted). throws Error(failed).
  void append(std::span<const float> values);
  /// throws Error(failed).
  void finish();
  std::size_t rows() const { return rows_; }

 private:
  AtomicFile file_;
  std::size_t columns_;
  std::size_t rows_ = 0;
};

struct NpyArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
/// Reads float32 in row-major order of any rank. throws Error(input): anything else, or a size that does not fit the
/// file.
NpyArray read_npy(const std::filesystem::path& path);

}  // namespace lowbit::files
