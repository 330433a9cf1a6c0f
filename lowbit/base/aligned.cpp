#include "lowbit/base/aligned.h"

#include <cassert>
#include <cstdint>
#include <mutex>

namespace lowbit {
namespace {

// A stretch of memory on a multiple of its own size, so that a piece finds it by its address. Pieces follow one another
// behind this head.
struct Chunk {
  std::size_t used;  // bytes, the head among them
  std::size_t live;  // pieces not yet freed
};
constexpr std::size_t kChunk = 4 * kSharedBelow, kHead = 64;

std::mutex mutex;
Chunk* current = nullptr;

}  // namespace

void* allocate_shared(std::size_t bytes) {
  assert(bytes < kSharedBelow);
  const std::lock_guard lock(mutex);
  if (!current || current->used + bytes > kChunk) {
    void* const memory = std::aligned_alloc(kChunk, kChunk);
    if (!memory) return nullptr;
#if defined(__linux__)
    madvise(memory, kChunk, MADV_HUGEPAGE);
#endif
    current = new (memory) Chunk{kHead, 0};
  }
  std::byte* const piece = reinterpret_cast<std::byte*>(current) + current->used;
  current->used += (bytes + 63) / 64 * 64;
  ++current->live;
  return piece;
}

void free_shared(void* memory) {
  if (!memory) return;
  const std::lock_guard lock(mutex);
  auto* const chunk = reinterpret_cast<Chunk*>(reinterpret_cast<std::uintptr_t>(memory) & ~(kChunk - 1));
  if (--chunk->live > 0) return;
  if (chunk == current)
    chunk->used = kHead;
  else
    std::free(chunk);
}

}  // namespace lowbit
