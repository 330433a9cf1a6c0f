#include "lowbit/base/file_write.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

int injected(std::string_view call) { return file_fault ? file_fault(call) : 0; }

[[noreturn]] void write_failed(const std::filesystem::path& path, int error) {
  fail("cannot write {}: {}; nothing stands under that name that was not there before", path.string(), errno_text(error));
}

void write_all(int fd, const std::filesystem::path& path, const char* data, std::size_t size, off_t offset) {
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

void sync_descriptor(int fd, const std::filesystem::path& path) {
  const int error = injected("fsync");
  if (error || fsync(fd) != 0) write_failed(path, error ? error : errno);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  temporary_ = path_;
  temporary_ += fmt::format(".tmp-{}-{}", getpid(), counter++);
  fd_ = open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) write_failed(path_, errno);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

void AtomicFile::flush() {
  write_all(fd_, path_, buffer_.data(), buffer_.size(), static_cast<off_t>(size_ - buffer_.size()));
  buffer_.clear();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::write(std::string_view text) {
  if (text.size() >= kBufferBytes) {
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
  write_all(fd_, path_, reinterpret_cast<const char*>(bytes.data()), bytes.size(), static_cast<off_t>(offset));
}

void AtomicFile::commit() {
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
  sync_folder(path_.has_parent_path() ? path_.parent_path() : std::filesystem::path("."));
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
