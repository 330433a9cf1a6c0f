#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lowbit/base/file_map.h"
#include "lowbit/files/byte_sink.h"
#include "lowbit/files/dtype.h"

// The safetensors container (docs/reference/formats.md, "safetensors"): 8 bytes little-endian length of a JSON header,
// the header, then the tensors' bytes without holes.
namespace lowbit::files {

/// Text pairs that travel in the header. Hugging Face transformers wants {"format", "pt"} among them.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// One tensor of an open file. Views live as long as the SafetensorsFile.
struct TensorView {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;   ///< row-major; empty for a scalar
  std::span<const std::byte> bytes;  ///< exactly elements() * dtype_bytes(dtype)
  std::string_view file;             ///< for messages

  std::int64_t elements() const;
  /// "[512, 64]".
  std::string shape_text() const;
  /// throws Error(input) unless the shape is `wanted`.
  void require_shape(std::span<const std::int64_t> wanted) const;
  /// throws Error(input) unless the dtype is `wanted`.
  void require_dtype(Dtype wanted) const;
  /// The values where they lie in the file. T must be as wide as the dtype; the caller has checked the dtype.
  /// throws Error(input) when they do not lie on a multiple of sizeof(T), which files of other programs may have.
  template <class T>
  std::span<const T> values() const {
    require_layout(sizeof(T));
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  /// The values as float32 (dtype.h, to_floats).
  std::vector<float> floats() const;

 private:
  void require_layout(std::size_t value_bytes) const;
};

/// A safetensors file, mapped. The header is checked in full before anything is handed out: its length against the
/// file, that it is JSON of the right shape, known dtypes, products of shapes without overflow, every range inside the
/// file and as long as shape and dtype say, ranges that follow each other without hole or overlap to the end of the
/// file, names given once.
class SafetensorsFile {
 public:
  /// throws Error(input): cannot be read, or breaks a rule above (which, and at which tensor).
  explicit SafetensorsFile(const std::filesystem::path& path);

  /// In the order of their bytes in the file.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  /// nullptr when there is none of that name.
  const TensorView* find(std::string_view name) const;
  /// throws Error(input) that names the missing tensor and the file.
  const TensorView& at(std::string_view name) const;
  const Metadata& metadata() const { return metadata_; }
  const std::string& path() const { return map_->path(); }
  std::size_t file_bytes() const { return map_->size(); }

 private:
  void read_header();
  std::unique_ptr<FileMap> map_;  // on the heap, so that views keep their file name when this object moves
  std::vector<TensorView> tensors_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
  Metadata metadata_;
};

/// Writes a safetensors file. Equal calls give equal bytes.
class SafetensorsWriter {
 public:
  void metadata(std::string key, std::string value) { metadata_.emplace_back(std::move(key), std::move(value)); }

  /// bytes   row-major values, elements * dtype_bytes(dtype) of them (asserted); they must live until write().
  void add(std::string name, Dtype dtype, std::vector<std::int64_t> shape, std::span<const std::byte> bytes);
  template <class T>
  void add(std::string name, Dtype dtype, std::vector<std::int64_t> shape, std::span<const T> values) {
    add(std::move(name), dtype, std::move(shape), std::as_bytes(values));
  }
  /// The same with bytes that are made when they are written, so that no whole tensor needs to be in memory.
  void add(std::string name, Dtype dtype, std::vector<std::int64_t> shape, ByteSource source);

  /// The size of the file that write() will give.
  std::size_t file_bytes() const;
  /// Tensors whose size is a multiple of 64 bytes come first, in the order of add, each on a 64-byte boundary of the
  /// file; then those divisible by 32, 16, ... (the format forbids holes), each on a multiple of that, so at least of
  /// its dtype.
  void write(const ByteSink& sink) const;
  /// Through an AtomicFile. throws Error(failed).
  void write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::string name;
    Dtype dtype;
    std::vector<std::int64_t> shape;
    std::size_t size;
    ByteSource source;
  };
  std::vector<const Entry*> ordered() const;
  std::string header(std::span<const Entry* const> order) const;
  std::vector<Entry> entries_;
  Metadata metadata_;
};

}  // namespace lowbit::files
