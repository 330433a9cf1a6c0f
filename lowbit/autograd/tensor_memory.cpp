#include "lowbit/autograd/tensor_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <bit>
#include <cstddef>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "lowbit/base/aligned.h"

namespace lowbit::autograd {
namespace {

/// Sizes are rounded up to an eighth of their power of two, so that nearly equal ones share blocks.
std::size_t rounded(std::size_t bytes) {
  if (bytes <= 512) return 512;
  const std::size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

class KeptBlocks final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* block = bytes > 0 ? take(rounded(bytes)) : nullptr;
    return {block, block, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

  static KeptBlocks& instance() {
    static auto* const blocks = new KeptBlocks;  // tensors of static life may die after any other static object
    return *blocks;
  }

 private:
  void* take(std::size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      auto& free = free_[bytes];
      if (!free.empty()) {
        void* block = free.back();
        free.pop_back();
        return block;
      }
    }
    void* block = allocate_pages(bytes);
    if (!block) throw std::bad_alloc();
    const std::lock_guard lock(mutex_);
    size_of_[block] = bytes;
    return block;
  }
  static void give_back(void* block) {
    if (!block) return;
    KeptBlocks& self = instance();
    const std::lock_guard lock(self.mutex_);
    self.free_[self.size_of_.at(block)].push_back(block);
  }

  std::mutex mutex_;
  std::unordered_map<std::size_t, std::vector<void*>> free_;
  std::unordered_map<void*, std::size_t> size_of_;
};

}  // namespace

void keep_tensor_memory() { c10::SetCPUAllocator(&KeptBlocks::instance(), /*priority=*/1); }

}  // namespace lowbit::autograd
