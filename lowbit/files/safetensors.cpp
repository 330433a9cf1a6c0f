#include "lowbit/files/safetensors.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "lowbit/base/file_write.h"
#include "lowbit/files/json.h"

namespace lowbit::files {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own library
constexpr std::size_t kAlignment = 64;

/// A tensor's name for messages: one line of sane length, whatever the file holds.
std::string name_text(std::string_view name) { return json_excerpt(Json(std::string(name))); }

/// elements * bytes each, or false on overflow.
bool checked_size(std::span<const std::int64_t> shape, std::size_t value_bytes, std::size_t& out) {
  // A zero anywhere makes the tensor empty, but the other dimensions must still be sane.
  std::size_t product = value_bytes;
  bool empty = false;
  for (const std::int64_t dimension : shape) {
    if (dimension == 0)
      empty = true;
    else if (__builtin_mul_overflow(product, static_cast<std::size_t>(dimension), &product))
      return false;
  }
  out = empty ? 0 : product;
  return true;
}

std::uint64_t whole_number(const nlohmann::json& value, const std::string& where, std::string_view what) {
  if (!value.is_number_unsigned())
    fail_input("{}: {} holds something that is not a whole number of 0 or more", where, what);
  return value.get<std::uint64_t>();
}

struct Header {
  TensorView view;
  std::size_t begin, end;
};

Header read_entry(const std::string& name, const nlohmann::json& entry, const std::string& file,
                  std::size_t data_bytes) {
  const std::string where = fmt::format("{}: tensor {}", file, name_text(name));
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    fail_input("{}: wanted exactly the keys dtype, shape and data_offsets", where);
  const auto& dtype = entry["dtype"];
  const auto& shape = entry["shape"];
  const auto& offsets = entry["data_offsets"];
  if (!dtype.is_string()) fail_input("{}: dtype is not a text", where);
  const auto known = dtype_by_name(dtype.get_ref<const std::string&>());
  if (!known)
    fail_input("{}: dtype {} is not one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 U16 U32 BOOL", where,
               name_text(dtype.get_ref<const std::string&>()));
  if (!shape.is_array()) fail_input("{}: shape is not a list", where);
  if (!offsets.is_array() || offsets.size() != 2) fail_input("{}: data_offsets is not a list of two", where);

  Header header{};
  header.view = {name, *known, {}, {}, file};
  header.view.shape.reserve(shape.size());
  for (const auto& dimension : shape) {
    const std::uint64_t n = whole_number(dimension, where, "shape");
    if (n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      fail_input("{}: a dimension of {} is too large", where, n);
    header.view.shape.push_back(static_cast<std::int64_t>(n));
  }
  header.begin = whole_number(offsets[0], where, "data_offsets");
  header.end = whole_number(offsets[1], where, "data_offsets");
  if (header.begin > header.end || header.end > data_bytes)
    fail_input("{}: bytes {} to {} of {} bytes of data; is the file cut short?", where, header.begin, header.end,
               data_bytes);
  std::size_t size = 0;
  if (!checked_size(header.view.shape, dtype_bytes(*known), size))
    fail_input("{}: shape {} overflows", where, header.view.shape_text());
  if (size != header.end - header.begin)
    fail_input("{}: shape {} of {} takes {} bytes, but data_offsets give it {}", where, header.view.shape_text(),
               dtype_name(*known), size, header.end - header.begin);
  return header;
}

}  // namespace

std::int64_t TensorView::elements() const { return static_cast<std::int64_t>(bytes.size() / dtype_bytes(dtype)); }

std::string TensorView::shape_text() const { return fmt::format("[{}]", fmt::join(shape, ", ")); }

void TensorView::require_shape(std::span<const std::int64_t> wanted) const {
  if (!std::ranges::equal(shape, wanted))
    fail_input("{}: tensor {} has shape {}, wanted [{}]", file, name_text(name), shape_text(), fmt::join(wanted, ", "));
}

void TensorView::require_dtype(Dtype wanted) const {
  if (dtype != wanted)
    fail_input("{}: tensor {} holds {}, wanted {}", file, name_text(name), dtype_name(dtype), dtype_name(wanted));
}

void TensorView::require_layout(std::size_t value_bytes) const {
  assert(value_bytes == dtype_bytes(dtype));
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % value_bytes != 0)
    fail_input("{}: tensor {} does not begin on a multiple of {} bytes; write the file anew with tensors aligned", file,
               name_text(name), value_bytes);
}

std::vector<float> TensorView::floats() const {
  std::vector<float> out(static_cast<std::size_t>(elements()));
  to_floats(dtype, bytes, out);
  return out;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : map_(std::make_unique<FileMap>(path)) {
  read_header();
}

void SafetensorsFile::read_header() {
  const std::string& file = map_->path();
  if (map_->size() < kLengthBytes) fail_input("{} has {} bytes, too few for a safetensors file", file, map_->size());
  std::uint64_t length = 0;
  std::memcpy(&length, map_->bytes().data(), kLengthBytes);
  if (length > map_->size() - kLengthBytes || length > kMaxHeaderBytes)
    fail_input("{}: a header of {} bytes in a file of {}; it is cut short, or no safetensors file", file, length,
               map_->size());
  const auto text = map_->slice(kLengthBytes, length);
  if (text.empty() || text[0] != std::byte{'{'})
    fail_input("{}: the header does not begin with {{: no safetensors file", file);
  const auto data = map_->bytes().subspan(kLengthBytes + length);
  const auto json = parse_large_json({reinterpret_cast<const char*>(text.data()), text.size()}, file + ": header");
  if (!json.is_object()) fail_input("{}: the header is not a JSON object", file);

  std::vector<Header> headers;
  headers.reserve(json.size());
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) fail_input("{}: __metadata__ is not an object", file);
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) fail_input("{}: __metadata__ holds {}, which is not a text", file, name_text(key));
        metadata_.emplace_back(key, value.get<std::string>());
      }
      continue;
    }
    headers.push_back(read_entry(name, entry, file, data.size()));
  }
  std::ranges::stable_sort(
      headers, [](const Header& a, const Header& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::size_t expected = 0;
  tensors_.reserve(headers.size());
  for (Header& header : headers) {
    if (header.begin != expected)
      fail_input("{}: tensor {} begins at byte {} of the data, {} the one before it ends at {}", file,
                 name_text(header.view.name), header.begin, header.begin < expected ? "but" : "a hole:", expected);
    expected = header.end;
    header.view.bytes = data.subspan(header.begin, header.end - header.begin);
    header.view.file = file;
    by_name_.emplace(header.view.name, tensors_.size());
    tensors_.push_back(std::move(header.view));
  }
  if (expected != data.size())
    fail_input("{}: {} bytes behind the last tensor belong to none", file, data.size() - expected);
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const TensorView& SafetensorsFile::at(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  fail_input("{}: there is no tensor {} (it has {} others)", path(), name, tensors_.size());
}

void SafetensorsWriter::add(std::string name, Dtype dtype, std::vector<std::int64_t> shape,
                            std::span<const std::byte> bytes) {
  add(std::move(name), dtype, std::move(shape), [bytes](const ByteSink& sink) { sink(bytes); });
  assert(entries_.back().size == bytes.size());
}

void SafetensorsWriter::add(std::string name, Dtype dtype, std::vector<std::int64_t> shape, ByteSource source) {
  assert(name != "__metadata__");
  assert(std::ranges::none_of(shape, [](std::int64_t n) { return n < 0; }));
  std::size_t size = 0;
  [[maybe_unused]] const bool fits = checked_size(shape, dtype_bytes(dtype), size);
  assert(fits);
  entries_.push_back({std::move(name), dtype, std::move(shape), size, std::move(source)});
}

std::vector<const SafetensorsWriter::Entry*> SafetensorsWriter::ordered() const {
  // The largest power of two up to 64 that divides the size. Falling, so every offset is a multiple of its tensor's
  // own.
  const auto alignment = [](const Entry* entry) {
    return std::size_t{1} << std::min(6, std::countr_zero(entry->size));  // of 0 it is 64: any place suits it
  };
  std::vector<const Entry*> order;
  order.reserve(entries_.size());
  for (const Entry& entry : entries_) order.push_back(&entry);
  std::ranges::stable_sort(order, std::greater<>(), alignment);
  return order;
}

std::string SafetensorsWriter::header(std::span<const Entry* const> order) const {
  // Written by hand: ordered JSON objects take time quadratic in their keys. Names are quoted by the library.
  const auto text = [](const std::string& s) { return dump_line(Json(s)); };
  std::string out = "{";
  if (!metadata_.empty()) {
    out += "\"__metadata__\":{";
    for (std::size_t i = 0; i < metadata_.size(); ++i)
      out += fmt::format("{}{}:{}", i > 0 ? "," : "", text(metadata_[i].first), text(metadata_[i].second));
    out += "}";
  }
  std::size_t offset = 0;
  for (const Entry* entry : order) {
    out += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", out.size() > 1 ? "," : "",
                       text(entry->name), dtype_name(entry->dtype), fmt::join(entry->shape, ","), offset,
                       offset + entry->size);
    offset += entry->size;
  }
  out += "}";
  out.resize((kLengthBytes + out.size() + kAlignment - 1) / kAlignment * kAlignment - kLengthBytes, ' ');
  return out;
}

std::size_t SafetensorsWriter::file_bytes() const {
  const auto order = ordered();
  std::size_t bytes = kLengthBytes + header(order).size();
  for (const Entry& entry : entries_) bytes += entry.size;
  return bytes;
}

void SafetensorsWriter::write(const ByteSink& sink) const {
  const auto order = ordered();
  const std::string text = header(order);
  const std::uint64_t length = text.size();
  sink(std::as_bytes(std::span(&length, 1)));
  sink(std::as_bytes(std::span(text)));
  for (const Entry* entry : order) {
    std::size_t written = 0;
    entry->source([&](std::span<const std::byte> piece) {
      written += piece.size();
      sink(piece);
    });
    assert(written == entry->size);
    if (written != entry->size)  // a wrong size would shift all that follows: never let such a file be committed
      throw std::logic_error(fmt::format("tensor {} gave {} bytes, announced {}", entry->name, written, entry->size));
  }
}

void SafetensorsWriter::write(const std::filesystem::path& path) const {
  AtomicFile file(path);
  write([&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.commit();
}

}  // namespace lowbit::files
