#include "fuzz/scratch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace lowbit::fuzz {
namespace {

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put <= 0) throw std::runtime_error("a scratch file cannot be written");
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

}  // namespace

MemoryFile::MemoryFile(std::string_view bytes) : fd_(memfd_create("lowbit-fuzz", MFD_CLOEXEC)) {
  if (fd_ < 0) throw std::runtime_error("no memory file");
  write_all(fd_, bytes);
}

MemoryFile::~MemoryFile() { close(fd_); }

std::filesystem::path MemoryFile::path() const { return "/proc/self/fd/" + std::to_string(fd_); }

ScratchFolder::ScratchFolder() {
  std::error_code error;
  const bool shared = std::filesystem::is_directory("/dev/shm", error) && access("/dev/shm", W_OK) == 0;
  std::string name =
      (shared ? std::string("/dev/shm") : std::filesystem::temp_directory_path().string()) + "/lowbit-fuzz-XXXXXX";
  if (!mkdtemp(name.data())) throw std::runtime_error("no scratch folder");
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void ScratchFolder::put(std::string_view name, std::string_view bytes) const {
  std::filesystem::create_directories((path_ / name).parent_path());
  const int fd = open((path_ / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) throw std::runtime_error("a scratch file cannot be made");
  write_all(fd, bytes);
  close(fd);
}

}  // namespace lowbit::fuzz
