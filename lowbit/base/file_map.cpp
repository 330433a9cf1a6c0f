#include "lowbit/base/file_map.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"

namespace lowbit {
namespace {

/// Closes a descriptor when it leaves scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

/// A mapped range, for the signal handler. Entries are reused and never freed, so that the handler may walk the list at
/// any moment.
struct MappedRange {
  std::atomic<std::uintptr_t> begin{0}, size{0};
  char path[512] = "";
  MappedRange* next = nullptr;
};
std::atomic<MappedRange*> ranges{nullptr};
std::mutex ranges_mutex;

void remember_range(std::span<const std::byte> bytes, const std::string& path) {
  const std::lock_guard lock(ranges_mutex);
  MappedRange* entry = ranges;
  while (entry && entry->size != 0) entry = entry->next;
  const bool made = !entry;
  if (made) entry = new MappedRange;
  const std::size_t length = std::min(path.size(), sizeof entry->path - 1);
  std::memcpy(entry->path, path.data(), length);
  entry->path[length] = 0;
  entry->begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  entry->size = bytes.size();
  if (!made) return;
  entry->next = ranges;
  ranges = entry;
}

void forget_range(std::span<const std::byte> bytes) {
  const std::lock_guard lock(ranges_mutex);
  for (MappedRange* entry = ranges; entry; entry = entry->next)
    if (entry->size != 0 && entry->begin == reinterpret_cast<std::uintptr_t>(bytes.data())) {
      entry->size = 0;
      return;
    }
}

/// Only what may be called from a handler: write and _exit.
extern "C" void on_bus_error(int signal_number, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const MappedRange* entry = ranges; entry; entry = entry->next) {
    const std::uintptr_t begin = entry->begin, size = entry->size;
    if (at < begin || at - begin >= size) continue;
    const auto put = [](const char* text) {
      [[maybe_unused]] const ssize_t done = write(STDERR_FILENO, text, std::strlen(text));
    };
    put("lowbit: ");
    put(entry->path);
    put(" was cut short or can no longer be read while it was in use; restore the file and repeat the command\n");
    _exit(1);
  }
  signal(signal_number, SIG_DFL);  // not ours: the faulting instruction runs again and the system's way takes over
}

/// Opens a regular file. Not blocking: a FIFO that nobody writes to would hold the open call for ever.
struct stat open_regular(const std::filesystem::path& path, Descriptor& file) {
  file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file.fd < 0) fail_input("cannot open {}: {}", path.string(), errno_text(errno));
  struct stat info {};
  if (fstat(file.fd, &info) != 0) fail_input("cannot examine {}: {}", path.string(), errno_text(errno));
  if (S_ISDIR(info.st_mode)) fail_input("{} is a folder; name a file", path.string());
  if (!S_ISREG(info.st_mode))
    fail_input("{} is a pipe, a terminal or a device; name a regular file", path.string());
  return info;
}

std::string read_all(int fd, const std::filesystem::path& path, std::size_t limit) {
  std::string text;
  while (true) {
    const std::size_t had = text.size();
    text.resize(had + (std::size_t{1} << 16));
    const ssize_t got = read(fd, text.data() + had, text.size() - had);
    if (got < 0 && errno == EINTR) {
      check_interrupt("stopped while reading a file");
      text.resize(had);
      continue;
    }
    if (got < 0) fail_input("cannot read {}: {}", path.string(), errno_text(errno));
    text.resize(had + static_cast<std::size_t>(got));
    if (text.size() > limit)
      fail_input("{} is larger than {} bytes, too large for what it should be", path.string(), limit);
    if (got == 0) return text;
  }
}

}  // namespace

FileMap::FileMap(const std::filesystem::path& path) : path_(path.string()) {
  Descriptor file{-1};
  const auto info = open_regular(path, file);
  if (info.st_size == 0) fail_input("{} is empty", path_);
  const auto size = static_cast<std::size_t>(info.st_size);
  void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (memory == MAP_FAILED) fail_input("cannot map {} ({} bytes): {}", path_, size, errno_text(errno));
  bytes_ = {static_cast<const std::byte*>(memory), size};
  remember_range(bytes_, path_);
}

FileMap::~FileMap() {
  if (bytes_.empty()) return;
  forget_range(bytes_);
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void catch_lost_maps() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

std::span<const std::byte> FileMap::slice(std::size_t offset, std::size_t size) const {
  if (offset > bytes_.size() || size > bytes_.size() - offset)
    fail_input("{}: wanted {} bytes at offset {} of a file of {}; is it cut short?", path_, size, offset,
               bytes_.size());
  return bytes_.subspan(offset, size);
}

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  Descriptor file{-1};
  const auto info = open_regular(path, file);
  if (static_cast<std::uint64_t>(info.st_size) > limit)
    fail_input("{} has {} bytes, more than the {} that such a file may have", path.string(), info.st_size, limit);
  return read_all(file.fd, path, limit);
}

std::string read_stream(const std::filesystem::path& path, std::size_t limit) {
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)};
  if (file.fd < 0) fail_input("cannot open {}: {}", path.string(), errno_text(errno));
  struct stat info {};
  if (fstat(file.fd, &info) == 0 && S_ISDIR(info.st_mode)) fail_input("{} is a folder; name a file", path.string());
  return read_all(file.fd, path, limit);
}

}  // namespace lowbit
