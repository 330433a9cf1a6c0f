#pragma once
#include <sys/types.h>

#include <filesystem>

namespace lowbit {

/// What stands under a name that is to be written.
struct WriteTarget {
  std::filesystem::path path;  ///< the file itself, links resolved
  bool through = false;        ///< a device, a FIFO or an open file: to be written into, never replaced
  int descriptor = -1;         ///< through: the number of an open file of ours, or -1 where `path` is to be opened
  bool exists = false;         ///< a regular file that is to be replaced, of which:
  mode_t mode = 0;
  uid_t owner = 0;
  gid_t group = 0;
};

/// Follows links. throws Error(input): a folder, a socket, a disk, an empty name, a loop of links, or a folder on the
/// way that is missing or cannot be searched.
WriteTarget write_target(const std::filesystem::path& path);

}  // namespace lowbit
