#include "lowbit/report/tensorboard.h"

#include <array>
#include <bit>
#include <limits>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"

namespace lowbit::report {
namespace {

static_assert(std::endian::native == std::endian::little, "frames below are copied as the machine lays them out");

constexpr std::size_t kFrameBytes = 8 + 4 + 4;
constexpr std::size_t kLargestFile = std::size_t{4} << 30;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0u);  // the polynomial, bits reversed
    table[i] = crc;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

template <class T>
std::string raw(T value) {
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(value);
  return {bytes.data(), bytes.size()};
}
template <class T>
T read_raw(std::string_view bytes, std::size_t offset) {
  std::array<char, sizeof(T)> out{};
  bytes.copy(out.data(), sizeof(T), offset);
  return std::bit_cast<T>(out);
}

// ---- protocol buffers: a field is a key (number * 8 + wire type) and a value ----

enum Wire : std::uint64_t { varint = 0, fixed64 = 1, sized = 2, fixed32 = 5 };

std::string var(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string key(std::uint64_t field, Wire wire) { return var(field * 8 + wire); }
std::string sized_field(std::uint64_t field, std::string_view bytes) {
  return key(field, sized) + var(bytes.size()) + std::string(bytes);
}

std::optional<std::uint64_t> take_var(std::string_view* bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes->front());
    bytes->remove_prefix(1);
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// The data of the record at the front of `bytes`, which moves behind it; nothing when it is torn or damaged.
std::optional<std::string_view> take_record(std::string_view* bytes) {
  if (bytes->size() < kFrameBytes) return std::nullopt;
  const auto length = read_raw<std::uint64_t>(*bytes, 0);
  if (length > bytes->size() - kFrameBytes || read_raw<std::uint32_t>(*bytes, 8) != masked_crc32c(bytes->substr(0, 8)))
    return std::nullopt;
  const std::string_view data = bytes->substr(12, length);
  if (read_raw<std::uint32_t>(*bytes, 12 + length) != masked_crc32c(data)) return std::nullopt;
  bytes->remove_prefix(kFrameBytes + length);
  return data;
}

std::filesystem::path prepared(const std::filesystem::path& path) {
  cut_events(path, std::numeric_limits<std::int64_t>::max());
  return path;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

std::string tf_record(std::string_view data) {
  const std::string length = raw(static_cast<std::uint64_t>(data.size()));
  return length + raw(masked_crc32c(length)) + std::string(data) + raw(masked_crc32c(data));
}

std::string version_record(double wall_time) {
  return tf_record(key(1, fixed64) + raw(wall_time) + sized_field(3, "brain.Event:2"));
}

std::string scalars_record(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars)
    summary += sized_field(1, sized_field(1, scalar.tag) + key(2, fixed32) + raw(scalar.value));
  return tf_record(key(1, fixed64) + raw(wall_time) + key(2, varint) + var(static_cast<std::uint64_t>(step)) +
                   sized_field(5, summary));
}

std::optional<std::int64_t> event_step(std::string_view message) {
  std::int64_t step = 0;
  while (!message.empty()) {
    const auto field = take_var(&message);
    if (!field) return std::nullopt;
    std::uint64_t skip = 0;
    if (const std::uint64_t wire = *field & 7; wire == varint) {
      const auto value = take_var(&message);
      if (!value) return std::nullopt;
      if (*field >> 3 == 2) step = static_cast<std::int64_t>(*value);
    } else if (wire == fixed64) {
      skip = 8;
    } else if (wire == fixed32) {
      skip = 4;
    } else if (wire == sized) {
      const auto size = take_var(&message);
      if (!size) return std::nullopt;
      skip = *size;
    } else {
      return std::nullopt;
    }
    if (skip > message.size()) return std::nullopt;
    message.remove_prefix(skip);
  }
  return step;
}

void cut_events(const std::filesystem::path& path, std::int64_t last_step) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size == 0) return;
  const std::string bytes = read_file(path, kLargestFile);
  std::string_view rest = bytes;
  std::string kept;
  bool first = true;
  while (const auto data = take_record(&rest)) {
    const auto step = event_step(*data);
    if (!step) break;
    first = false;
    if (*step <= last_step) kept += tf_record(*data);
  }
  // A first record that is torn is what a run killed at its start leaves: it is rewritten. Other bytes are not ours.
  if (first && bytes.size() >= kFrameBytes &&
      read_raw<std::uint32_t>(bytes, 8) != masked_crc32c(std::string_view(bytes).substr(0, 8)))
    fail_input("{} is no TensorBoard event file; move it away, or train into another folder", path.string());
  if (kept != bytes) write_file(path, kept);
}

EventFile::EventFile(const std::filesystem::path& path, double wall_time) : file_(prepared(path)) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) == 0 && !error) file_.append(version_record(wall_time));
}

void EventFile::add(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  file_.append(scalars_record(wall_time, step, scalars));
}

}  // namespace lowbit::report
