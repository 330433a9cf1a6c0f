#include "lowbit/base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

/// Closes a descriptor when it leaves scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

struct stat open_regular(const std::filesystem::path& path, Descriptor& file) {
  file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd < 0) fail_input("cannot open {}: {}", path.string(), errno_text(errno));
  struct stat info {};
  if (fstat(file.fd, &info) != 0) fail_input("cannot examine {}: {}", path.string(), errno_text(errno));
  if (S_ISDIR(info.st_mode)) fail_input("{} is a folder; name a file", path.string());
  return info;
}

}  // namespace

FileMap::FileMap(const std::filesystem::path& path) : path_(path.string()) {
  Descriptor file{-1};
  const auto info = open_regular(path, file);
  if (!S_ISREG(info.st_mode)) fail_input("{} is not a regular file, so it cannot be mapped", path_);
  if (info.st_size == 0) fail_input("{} is empty", path_);
  const auto size = static_cast<std::size_t>(info.st_size);
  void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (memory == MAP_FAILED) fail_input("cannot map {} ({} bytes): {}", path_, size, errno_text(errno));
  bytes_ = {static_cast<const std::byte*>(memory), size};
}

FileMap::~FileMap() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::span<const std::byte> FileMap::slice(std::size_t offset, std::size_t size) const {
  if (offset > bytes_.size() || size > bytes_.size() - offset)
    fail_input("{}: wanted {} bytes at offset {} of a file of {}; is it cut short?", path_, size, offset, bytes_.size());
  return bytes_.subspan(offset, size);
}

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  Descriptor file{-1};
  open_regular(path, file);
  std::string text;
  while (true) {
    const std::size_t had = text.size();
    text.resize(had + (std::size_t{1} << 16));
    const ssize_t got = read(file.fd, text.data() + had, text.size() - had);
    if (got < 0 && errno == EINTR) {
      text.resize(had);
      continue;
    }
    if (got < 0) fail_input("cannot read {}: {}", path.string(), errno_text(errno));
    text.resize(had + static_cast<std::size_t>(got));
    if (text.size() > limit) fail_input("{} is larger than {} bytes, too large for what it should be", path.string(), limit);
    if (got == 0) return text;
  }
}

}  // namespace lowbit
