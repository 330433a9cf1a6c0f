#include "lowbit/report/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"

namespace lowbit::report {
namespace {

int injected(std::string_view call) { return file_fault ? file_fault(call) : 0; }

[[noreturn]] void append_failed(const std::filesystem::path& path, int error) {
  fail("cannot append to {}: {}; what was written before is kept", path.string(), errno_text(error));
}

}  // namespace

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) append_failed(path_, errno);
}

AppendFile::~AppendFile() {
  if (fd_ >= 0) close(fd_);
}

void AppendFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    if (const int error = injected("write")) append_failed(path_, error);
    const ssize_t put = write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) append_failed(path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

void AppendFile::sync() {
  const int error = injected("fsync");
  if (error || fsync(fd_) != 0) append_failed(path_, error ? error : errno);
}

}  // namespace lowbit::report
