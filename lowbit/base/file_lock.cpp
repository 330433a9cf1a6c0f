#include "lowbit/base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lowbit/base/error.h"

namespace lowbit {

FileLock::FileLock(const std::filesystem::path& file, const char* advice)
    : fd_(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0666)) {
  if (fd_ < 0)
    fail_input("cannot write in folder {}: {}; {}", file.parent_path().string(), errno_text(errno), advice);
  struct stat info {};
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd_);
    fail_input("{} is no regular file, so it cannot serve as a lock; remove it", file.string());
  }
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    std::array<char, 32> text{};
    const ssize_t got = pread(fd_, text.data(), text.size() - 1, 0);
    if (error != EWOULDBLOCK) {
      close(fd_);
      fail_input("cannot lock {}: {}", file.string(), errno_text(error));
    }
    for (ssize_t i = 0; i < got && text[static_cast<std::size_t>(i)] >= '0' && text[static_cast<std::size_t>(i)] <= '9';
         ++i)
      holder_ += text[static_cast<std::size_t>(i)];
    if (holder_.empty()) holder_ = "?";
    return;
  }
  held_ = true;
  // The number serves messages alone, so a failed write is no reason to stop here.
  const std::string number = fmt::format("{}\n", getpid());
  if (ftruncate(fd_, 0) == 0) {
    [[maybe_unused]] const ssize_t put = pwrite(fd_, number.data(), number.size(), 0);
  }
}

FileLock::~FileLock() { close(fd_); }

FolderLock::FolderLock(const std::filesystem::path& folder)
    : fd_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (fd_ < 0) fail("cannot open folder {}: {}", folder.string(), errno_text(errno));
  held_ = flock(fd_, LOCK_EX | LOCK_NB) == 0;
}

FolderLock::~FolderLock() { close(fd_); }

bool is_locked(const std::filesystem::path& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return false;
  const bool locked = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(fd);
  return locked;
}

}  // namespace lowbit
