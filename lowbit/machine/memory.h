#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace lowbit {

/// Bytes that this process may still take: what the system calls available, or what its control groups leave when that
/// is less. root: where proc and sys are looked for.
std::int64_t available_memory(const std::filesystem::path& root = "/");

/// Memory in large pages where the system gives them, on a 2 MiB boundary; contents are not set.
class LargePages {
 public:
  LargePages() = default;
  /// throws std::bad_alloc.
  explicit LargePages(std::size_t bytes);
  ~LargePages();
  LargePages(LargePages&& other) noexcept;
  LargePages& operator=(LargePages&& other) noexcept;
  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace lowbit
