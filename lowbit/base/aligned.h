#pragma once
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lowbit {

/// `bytes` of memory on a 64-byte boundary; from 4 MB on, on large pages where the system has them: weights and
/// activations are read from end to end, and thousands of small pages cost more than the reading. Free it by std::free.
/// returns null when there is none. bytes: a multiple of 64.
inline constexpr std::size_t kLargePage = std::size_t{2} << 20;
inline void* allocate_pages(std::size_t bytes) {
  if (bytes < 2 * kLargePage) return std::aligned_alloc(64, bytes);
  void* memory = std::aligned_alloc(kLargePage, (bytes + kLargePage - 1) / kLargePage * kLargePage);
#if defined(__linux__)
  if (memory) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

/// Pieces that lie side by side on shared large pages: for what is made together and read piece after piece, such as a
/// model's weights. On pages of its own a piece ends in up to 2 MB of small ones, a quarter of a matrix of 5.5 MB. Free
/// it by free_shared(), on any thread; memory goes back when the last neighbour is freed, so nothing that comes and
/// goes belongs here. returns null when there is none. Requires bytes < kSharedBelow.
inline constexpr std::size_t kSharedBelow = 8 * kLargePage;
void* allocate_shared(std::size_t bytes);
void free_shared(void* memory);

/// Whether a Buffer lies on pages of its own or, while it is small, beside its like.
enum class Pages { own, shared };

/// n values of a plain type, zeroed, on a 64-byte boundary (a cache line, an AVX-512 register) with at least 64 zeroed
/// bytes of slack behind the last, so that a vector load may overrun.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) { resize(size); }
  Buffer(Buffer&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)),
                                    capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  /// Makes room for n values. Growing gives fresh zeroed memory and forgets the contents; shrinking keeps both.
  void resize(std::size_t n, Pages pages = Pages::own) {
    if (n > capacity_) {
      const std::size_t bytes = (n * sizeof(T) + 64 + 63) / 64 * 64;
      if (bytes >= kSharedBelow) pages = Pages::own;
      void* memory = pages == Pages::shared ? allocate_shared(bytes) : allocate_pages(bytes);
      if (!memory) throw std::bad_alloc();
      __builtin_memset(memory, 0, bytes);
      data_ = {static_cast<T*>(memory), Free{pages}};
      capacity_ = n;
    }
    size_ = n;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](std::size_t i) { return data_.get()[i]; }
  const T& operator[](std::size_t i) const { return data_.get()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  operator std::span<T>() { return {data(), size_}; }
  operator std::span<const T>() const { return {data(), size_}; }

 private:
  struct Free {
    Pages pages = Pages::own;
    void operator()(T* p) const { pages == Pages::shared ? free_shared(p) : std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace lowbit
