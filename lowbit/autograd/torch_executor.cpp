#include "lowbit/autograd/torch_executor.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <exception>
#include <mutex>

#include "lowbit/autograd/tensor_memory.h"
#include "lowbit/base/error.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#if !defined(_OPENMP)
#error "without OpenMP, at::parallel_for runs on one thread"
#endif

namespace lowbit::autograd {

TorchExecutor::TorchExecutor(int threads) : threads_(threads) {
  if (threads < 1) fail_usage("the number of threads must be at least 1, not {}", threads);
  static std::once_flag memory;
  std::call_once(memory, keep_tensor_memory);
  at::set_num_threads(threads);
  at::parallel_for(0, threads, 1, [](std::int64_t, std::int64_t) {
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040u);
#endif
  });
}

void TorchExecutor::run(std::size_t count, Task task) {
  const FlushDenormals flush;
  if (count <= 1 || threads_ == 1) {
    for (std::size_t i = 0; i < count; ++i) task(i);
    return;
  }
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  at::parallel_for(0, threads_, 1, [&](std::int64_t, std::int64_t) {
    const FlushDenormals flush_here;
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      try {
        task(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    }
  });
  if (error) std::rethrow_exception(error);
}

}  // namespace lowbit::autograd
