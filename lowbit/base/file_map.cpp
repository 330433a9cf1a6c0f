#include "lowbit/base/file_map.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

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

/// A mapped range, for the signal handler. Entries are reused and never freed, so that the handler may walk the list at any
/// moment.
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
