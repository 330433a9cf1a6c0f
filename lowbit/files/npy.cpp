#include "lowbit/files/npy.h"

#include <cassert>
#include <charconv>
#include <cstring>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"

namespace lowbit::files {
namespace {

constexpr std::size_t kHeaderBytes = 128;  // room for any two sizes; NumPy wants a multiple of 64
constexpr std::string_view kMagic = "\x93NUMPY";

std::string header(std::size_t rows, std::size_t columns) {
  std::string out(kMagic);
  out += '\1';  // version 1.0
  out += '\0';
  out += static_cast<char>(kHeaderBytes - 10);  // what follows these two bytes, little-endian
  out += '\0';
  out += fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  assert(out.size() < kHeaderBytes);
  out.resize(kHeaderBytes - 1, ' ');
  out += '\n';
  return out;
}

}  // namespace

NpyWriter::NpyWriter(const std::filesystem::path& path, std::size_t columns) : file_(path), columns_(columns) {
  assert(columns > 0);
  file_.write(header(0, columns));
}

void NpyWriter::append(std::span<const float> values) {
  assert(values.size() % columns_ == 0);
  file_.write(std::as_bytes(values));
  rows_ += values.size() / columns_;
}

void NpyWriter::finish() {
  const std::string final_header = header(rows_, columns_);
  file_.write_at(0, std::as_bytes(std::span(final_header)));
  file_.commit();
}

NpyArray read_npy(const std::filesystem::path& path) {
  const FileMap map(path);
  const auto bytes = map.bytes();
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (all.size() < 10 || !all.starts_with(kMagic) || all[6] != 1)
    fail_input("{} is no .npy file of version 1", map.path());
  const std::size_t length =
      static_cast<unsigned char>(all[8]) | static_cast<std::size_t>(static_cast<unsigned char>(all[9])) << 8;
  if (length > all.size() - 10) fail_input("{}: the header is cut short", map.path());
  const std::string_view text = all.substr(10, length);
  const std::string_view data = all.substr(10 + length);
  if (text.find("'descr': '<f4'") == std::string_view::npos ||
      text.find("'fortran_order': False") == std::string_view::npos)
    fail_input("{}: not little-endian float32 in row-major order", map.path());
  const auto open = text.find("'shape': (");
  const auto close = text.find(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    fail_input("{}: the header has no shape", map.path());

  NpyArray array;
  std::size_t count = 1;
  for (std::string_view rest = text.substr(open + 10, close - open - 10); !rest.empty();) {
    if (rest[0] == ',' || rest[0] == ' ') {
      rest.remove_prefix(1);
      continue;
    }
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
    if (error != std::errc() || n < 0 || __builtin_mul_overflow(count, static_cast<std::size_t>(n), &count))
      fail_input("{}: the shape cannot be read", map.path());
    array.shape.push_back(n);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  }
  if (data.size() % sizeof(float) != 0 || count != data.size() / sizeof(float))
    fail_input("{}: {} values announced, {} bytes of data", map.path(), count, data.size());
  array.values.resize(count);
  if (count > 0) std::memcpy(array.values.data(), data.data(), data.size());
  return array;
}

}  // namespace lowbit::files
