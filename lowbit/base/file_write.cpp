#include "lowbit/base/file_write.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <system_error>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/write_target.h"

namespace lowbit {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
constexpr std::string_view kTemporary = ".tmp-";
constexpr int kLookEvery = 100;  // ms

int injected(std::string_view call) { return file_fault ? file_fault(call) : 0; }

[[noreturn]] void write_failed(const fs::path& path, int error) {
  fail("cannot write {}: {}; what had that name before is unchanged", path.string(), errno_text(error));
}

void write_all(int fd, const fs::path& path, const char* data, std::size_t size, off_t offset) {
  while (size > 0) {
    if (const int error = injected("write")) write_failed(path, error);
    const ssize_t put = pwrite(fd, data, size, offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) write_failed(path, errno);
    data += put;
    offset += put;
    size -= static_cast<std::size_t>(put);
  }
}

void sync_descriptor(int fd, const fs::path& path) {
  const int error = injected("fsync");
  if (error || fsync(fd) != 0) write_failed(path, error ? error : errno);
}

int open_new(const fs::path& path, fs::path& temporary) {
  for (;;) {
    temporary = temporary_name(path);
    int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 && errno == ENAMETOOLONG) {  // the name fits, but not with the suffix
      temporary = temporary_name(path.parent_path() / "");
      fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    }
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}

}  // namespace

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  const WriteTarget target = write_target(path_);
  path_ = target.path;
  if (target.through) {
    direct_ = true;
    temporary_ = path_;
    if (target.descriptor >= 0) {
      fd_ = fcntl(target.descriptor, F_DUPFD_CLOEXEC, 3);
      if (fd_ < 0) write_failed(path_, errno);
    }
    return;
  }
  fd_ = open_new(path_, temporary_);
  if (fd_ < 0) write_failed(path_, errno);
  if (target.exists) {
    // As good as the system lets us: a failure leaves the usual ones.
    if (fchown(fd_, target.owner, target.group) == 0 || target.owner == geteuid()) {
      [[maybe_unused]] const int ignored = fchmod(fd_, target.mode);
    }
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  if (!direct_) unlink(temporary_.c_str());
}

void AtomicFile::flush() {
  if (direct_) return;  // kept until commit
  write_all(fd_, path_, buffer_.data(), buffer_.size(), static_cast<off_t>(size_ - buffer_.size()));
  buffer_.clear();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::write(std::string_view text) {
  if (!direct_ && text.size() >= kBufferBytes) {
    flush();
    write_all(fd_, path_, text.data(), text.size(), static_cast<off_t>(size_));
    size_ += text.size();
    return;
  }
  buffer_.append(text);
  size_ += text.size();
  if (buffer_.size() >= kBufferBytes) flush();
}

void AtomicFile::write_at(std::size_t offset, std::span<const std::byte> bytes) {
  flush();
  const char* data = reinterpret_cast<const char*>(bytes.data());
  if (direct_)
    buffer_.replace(offset, bytes.size(), data, bytes.size());
  else
    write_all(fd_, path_, data, bytes.size(), static_cast<off_t>(offset));
}

void AtomicFile::write_through() {
  const std::string stopped = fmt::format("stopped before {} was written", path_.string());
  const auto failed = [&](int error) { fail("cannot write to {}: {}", path_.string(), errno_text(error)); };
  // A FIFO is opened when its reader comes.
  while (fd_ < 0) {
    fd_ = open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd_ >= 0) break;
    if (errno != ENXIO && errno != EINTR) failed(errno);
    check_interrupt(stopped.c_str());
    poll(nullptr, 0, kLookEvery);
  }
  // No more at once than is sure to fit where poll says so, so that a slow reader does not keep Ctrl-C out.
  for (std::size_t at = 0; at < buffer_.size();) {
    pollfd ready{fd_, POLLOUT, 0};
    const int got = poll(&ready, 1, kLookEvery);
    check_interrupt(stopped.c_str());
    if (got < 0 && errno != EINTR) failed(errno);
    if (got <= 0) continue;
    if (const int error = injected("write")) failed(error);
    const ssize_t put = ::write(fd_, buffer_.data() + at, std::min<std::size_t>(PIPE_BUF, buffer_.size() - at));
    if (put < 0 && errno != EINTR && errno != EAGAIN) failed(errno);
    if (put > 0) at += static_cast<std::size_t>(put);
  }
  if (close(std::exchange(fd_, -1)) != 0) failed(errno);
}

void AtomicFile::commit() {
  if (direct_) return write_through();
  flush();
  sync_descriptor(fd_, path_);
  if (close(std::exchange(fd_, -1)) != 0) {
    const int error = errno;
    unlink(temporary_.c_str());
    write_failed(path_, error);
  }
  try {
    rename_path(temporary_, path_);
  } catch (const Error&) {
    unlink(temporary_.c_str());
    throw;
  }
  sync_folder(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
}

std::string random_digits() {
  std::uint64_t random = 0;
  while (getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random))
    if (errno != EINTR) fail("the system gives no random numbers for a temporary name: {}", errno_text(errno));
  return fmt::format("{:016x}", random);
}

fs::path temporary_name(const fs::path& path) {
  fs::path name = path;
  name += kTemporary;
  name += random_digits();
  return name;
}

bool is_temporary_name(std::string_view name) {
  const auto at = name.rfind(kTemporary);
  if (at == std::string_view::npos) return false;
  const std::string_view end = name.substr(at + kTemporary.size());
  // 16 hexadecimal digits now; a process's number, and for files a counter behind "-", before.
  return !end.empty() && end.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

void remove_temporaries(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (is_temporary_name(it->path().filename().native()) &&
        it->symlink_status(ignored).type() == fs::file_type::regular)
      found.push_back(it->path());
  }
  for (const fs::path& path : found) fs::remove(path, error);
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("cannot open folder {}: {}", folder.string(), errno_text(errno));
  const int error = injected("fsync");
  const bool bad = error || fsync(fd) != 0;
  const int reason = error ? error : errno;
  close(fd);
  // Some file systems cannot fsync a folder and say EINVAL; there the rename is as durable as it gets.
  if (bad && reason != EINVAL) fail("cannot make folder {} durable: {}", folder.string(), errno_text(reason));
}

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
  const int error = injected("rename");
  if (error || rename(from.c_str(), to.c_str()) != 0)
    fail("cannot rename {} to {}: {}", from.string(), to.string(), errno_text(error ? error : errno));
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail("cannot make folder {}: {}", folder.string(), error.message());
}

}  // namespace lowbit
