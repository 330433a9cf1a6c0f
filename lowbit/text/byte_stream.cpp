#include "lowbit/text/byte_stream.h"

#include <fcntl.h>
#include <lzma.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"

namespace lowbit::text {
namespace {

constexpr std::size_t kInputBytes = std::size_t{1} << 18;
// xz archives name the memory that unpacking takes; more than this is refused (xz -9 takes 65 MB).
constexpr std::uint64_t kXzMemory = std::uint64_t{2} << 30;

class File final : public ByteStream {
 public:
  explicit File(const std::filesystem::path& path) : name_(path.string()) {
    // A pipe that nobody writes into yet would hold up open itself, where Ctrl-C is not noticed.
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) fail_input("cannot open {}: {}", name_, errno_text(errno));
    struct stat info {};
    if (fstat(fd_, &info) == 0 && S_ISDIR(info.st_mode)) {
      close(fd_);
      fail_input("{} is a folder; give the files in it", name_);
    }
    waits_ = !S_ISREG(info.st_mode);
    posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  ~File() override { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::size_t read(std::span<char> out) override {
    std::size_t got = 0;
    while (got < out.size()) {
      if (waits_) wait();
      const ssize_t n = ::read(fd_, out.data() + got, out.size() - got);
      if (n < 0 && (errno == EINTR || (waits_ && errno == EAGAIN))) continue;
      if (n < 0) fail_input("cannot read {}: {}", name_, errno_text(errno));
      if (n == 0) break;
      got += static_cast<std::size_t>(n);
    }
    consumed_ += got;
    return got;
  }
  std::uint64_t consumed() const override { return consumed_; }
  const std::string& name() const { return name_; }

 private:
  /// Until a pipe or terminal has bytes or has ended.
  void wait() const {
    for (pollfd one{fd_, POLLIN, 0}; poll(&one, 1, 100) == 0;)
      check_interrupt("stopped while waiting for text; nothing was written");
    check_interrupt("stopped while reading text; nothing was written");
  }
  std::string name_;
  int fd_;
  bool waits_ = false;
  std::uint64_t consumed_ = 0;
};

/// A file through a window, with the first bytes looked at already.
struct Input {
  std::unique_ptr<File> file;
  std::vector<char> window = std::vector<char>(kInputBytes);
  std::size_t begin = 0, end = 0;
  bool ended = false;

  std::string_view rest() const { return {window.data() + begin, end - begin}; }
  void fill() {
    if (begin < end || ended) return;
    begin = 0;
    end = file->read(window);
    ended = end == 0;
  }
};

class Plain final : public ByteStream {
 public:
  explicit Plain(Input input) : input_(std::move(input)) {}
  std::size_t read(std::span<char> out) override {
    if (input_.rest().empty()) return input_.file->read(out);
    const std::size_t n = input_.rest().copy(out.data(), out.size());
    input_.begin += n;
    return n;
  }
  std::uint64_t consumed() const override { return input_.file->consumed(); }

 private:
  Input input_;
};

/// What all unpackers share: feed input until output is full or the archive has ended.
class Unpacker : public ByteStream {
 public:
  explicit Unpacker(Input input) : input_(std::move(input)) {}
  std::uint64_t consumed() const override { return input_.file->consumed(); }

  std::size_t read(std::span<char> out) override {
    std::size_t got = 0;
    while (got < out.size() && !done_) {
      input_.fill();
      const std::size_t before = input_.begin + got;
      done_ = unpack(out, got);
      if (!done_ && input_.ended && input_.begin + got == before) cut_short();
    }
    return got;
  }

 protected:
  /// Takes input, appends output; true when the archive has ended and so has the file.
  virtual bool unpack(std::span<char> out, std::size_t& got) = 0;
  virtual std::string_view format() const = 0;
  [[noreturn]] void cut_short() const {
    fail_input("{}: this {} archive is cut short, after {} bytes; get a whole copy", input_.file->name(), format(),
               input_.file->consumed());
  }
  [[noreturn]] void damaged(std::string_view reason) const {
    fail_input("{}: this {} archive is damaged near byte {} ({}); get a good copy", input_.file->name(), format(),
               input_.file->consumed() - input_.rest().size(), reason);
  }

  Input input_;
  bool done_ = false;
};

class Xz final : public Unpacker {
 public:
  explicit Xz(Input input) : Unpacker(std::move(input)) {
    if (lzma_stream_decoder(&stream_, kXzMemory, LZMA_CONCATENATED) != LZMA_OK)
      fail("cannot start the xz decoder: out of memory");
  }
  ~Xz() override { lzma_end(&stream_); }

 protected:
  std::string_view format() const override { return "xz"; }
  bool unpack(std::span<char> out, std::size_t& got) override {
    const std::string_view in = input_.rest();
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data() + got);
    stream_.avail_out = out.size() - got;
    const lzma_ret code = lzma_code(&stream_, input_.ended ? LZMA_FINISH : LZMA_RUN);
    input_.begin += in.size() - stream_.avail_in;
    got = out.size() - stream_.avail_out;
    switch (code) {
      case LZMA_OK:
        return false;
      case LZMA_STREAM_END:
        return true;
      case LZMA_BUF_ERROR:
        cut_short();
      case LZMA_MEMLIMIT_ERROR:
        damaged("it asks for more than 2 GiB of memory");
      case LZMA_FORMAT_ERROR:
        damaged("bytes that are no xz stream");
      case LZMA_OPTIONS_ERROR:
        damaged("unknown options");
      default:
        damaged("its check does not match");
    }
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

class Zstd final : public Unpacker {
 public:
  explicit Zstd(Input input) : Unpacker(std::move(input)), stream_(ZSTD_createDStream()) {
    if (!stream_) fail("cannot start the zstd decoder: out of memory");
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, 31);  // what zstd --long=31 writes
  }
  ~Zstd() override { ZSTD_freeDStream(stream_); }

 protected:
  std::string_view format() const override { return "zstd"; }
  bool unpack(std::span<char> out, std::size_t& got) override {
    if (input_.ended && between_frames_) return true;
    const std::string_view rest = input_.rest();
    ZSTD_inBuffer in{rest.data(), rest.size(), 0};
    ZSTD_outBuffer into{out.data(), out.size(), got};
    const std::size_t code = ZSTD_decompressStream(stream_, &into, &in);
    input_.begin += in.pos;
    got = into.pos;
    if (ZSTD_isError(code)) damaged(ZSTD_getErrorName(code));
    between_frames_ = code == 0;
    return false;
  }

 private:
  ZSTD_DStream* stream_;
  bool between_frames_ = false;
};

class Gzip final : public Unpacker {
 public:
  explicit Gzip(Input input) : Unpacker(std::move(input)) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) fail("cannot start the gzip decoder: out of memory");
  }
  ~Gzip() override { inflateEnd(&stream_); }

 protected:
  std::string_view format() const override { return "gzip"; }
  bool unpack(std::span<char> out, std::size_t& got) override {
    if (input_.ended && between_members_) return true;
    const std::string_view in = input_.rest();
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data() + got);
    const auto room = static_cast<uInt>(std::min<std::size_t>(out.size() - got, std::size_t{1} << 30));
    stream_.avail_out = room;
    const int code = inflate(&stream_, Z_NO_FLUSH);
    input_.begin += in.size() - stream_.avail_in;
    got += room - stream_.avail_out;
    between_members_ = code == Z_STREAM_END;
    if (code == Z_STREAM_END)
      inflateReset(&stream_);
    else if (code != Z_OK && code != Z_BUF_ERROR)
      damaged(stream_.msg ? stream_.msg : "its check does not match");
    return false;
  }

 private:
  z_stream stream_{};
  bool between_members_ = false;
};

/// ".gz" of "a.txt.GZ".
std::string extension_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return extension;
}

bool is_packing(std::string_view extension) {
  return extension == ".xz" || extension == ".zst" || extension == ".gz";
}

}  // namespace

std::string unpacked_name(const std::filesystem::path& path) {
  return is_packing(extension_of(path)) ? path.stem().string() : path.filename().string();
}

std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path) {
  Input input;
  input.file = std::make_unique<File>(path);
  input.fill();
  if (input.ended) fail_input("{} is empty", path.string());
  const std::string_view first = input.rest();
  // No text begins so: none of the three is UTF-8.
  if (first.starts_with(std::string_view("\xFD"
                                         "7zXZ\0",
                                         6)))
    return std::make_unique<Xz>(std::move(input));
  if (first.starts_with("\x28\xB5\x2F\xFD")) return std::make_unique<Zstd>(std::move(input));
  if (first.starts_with("\x1F\x8B")) return std::make_unique<Gzip>(std::move(input));
  const std::string extension = extension_of(path);
  if (is_packing(extension))
    fail_input("{} is named {} but does not begin like such an archive; is it damaged, or misnamed?", path.string(),
               extension);
  return std::make_unique<Plain>(std::move(input));
}

}  // namespace lowbit::text
