#include "lowbit/base/executor.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "lowbit/base/error.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace lowbit {
namespace {

// Long enough to bridge the gap between two layers of a decode step, short enough not to burn a core between requests.
constexpr int kSpins = 4000;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

#if defined(__x86_64__)
// Bits 15 and 6 of MXCSR: flush results to zero, read denormals as zero.
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) {
  if ((saved_ & 0x8040u) != 0x8040u) _mm_setcsr(saved_ | 0x8040u);
}
FlushDenormals::~FlushDenormals() {
  if ((saved_ & 0x8040u) != 0x8040u) _mm_setcsr(saved_);
}
#elif defined(__aarch64__)
FlushDenormals::FlushDenormals() : saved_(0) {
  unsigned long control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  saved_ = static_cast<unsigned>(control);
  asm volatile("msr fpcr, %0" ::"r"(control | (1ul << 24)));
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(static_cast<unsigned long>(saved_))); }
#else
#error "flush-to-zero is not known for this processor"
#endif

void SerialExecutor::run(std::size_t count, Task task) {
  const FlushDenormals flush;
  for (std::size_t i = 0; i < count; ++i) task(i);
}

// A worker joins a job while it is open and leaves when no task is left. The caller closes the job when its own share is
// done and waits for those who joined, not for those who sleep: on a busy machine a worker may be off its core for
// milliseconds, and nobody should wait for it if it has taken nothing.
struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<unsigned> generation{0};  // a new value is a new job, or the end
  std::atomic<bool> stop{false};
  // The job. Written while it is closed and nobody is inside; `open` and `inside` are sequentially consistent, so either
  // the caller sees that a worker is inside or the worker sees that the job is closed.
  Task task{};
  std::size_t count = 0;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      try {
        task(i);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
  }

  void worker_loop() {
    const FlushDenormals flush;
    unsigned seen = 0;
    while (true) {
      unsigned now = generation.load(std::memory_order_acquire);
      for (int spin = 0; now == seen && spin < kSpins; ++spin) {
        relax();
        now = generation.load(std::memory_order_acquire);
      }
      if (now == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
        now = generation.load(std::memory_order_acquire);
      }
      seen = now;
      if (stop.load(std::memory_order_acquire)) return;
      inside.fetch_add(1);
      if (open.load()) work();
      inside.fetch_sub(1);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1) fail_usage("the number of threads must be at least 1, not {}", threads);
  try {
    for (int i = 1; i < threads; ++i) state_->workers.emplace_back([state = state_.get()] { state->worker_loop(); });
  } catch (const std::system_error& error) {
    const std::size_t made = state_->workers.size();
    state_->stop = true;
    {
      const std::lock_guard lock(state_->mutex);
      state_->generation.fetch_add(1, std::memory_order_acq_rel);
    }
    state_->wake.notify_all();
    for (std::thread& worker : state_->workers) worker.join();
    state_->workers.clear();
    fail("the system gave {} of {} threads ({}); ask for fewer with --threads", made + 1, threads, error.what());
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  {
    const std::lock_guard lock(state_->mutex);
    state_->generation.fetch_add(1, std::memory_order_acq_rel);
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(std::size_t count, Task task) {
  const FlushDenormals flush;
  State& state = *state_;
  if (count <= 1 || state.workers.empty()) {
    for (std::size_t i = 0; i < count; ++i) task(i);
    return;
  }
  state.task = task;
  state.count = count;
  state.next.store(0, std::memory_order_relaxed);
  state.open.store(true);
  {
    const std::lock_guard lock(state.mutex);
    state.generation.fetch_add(1, std::memory_order_acq_rel);
  }
  state.wake.notify_all();
  state.work();
  state.open.store(false);
  for (int spin = 0; state.inside.load() != 0; ++spin) {
    relax();
    if (spin > kSpins) std::this_thread::yield();
  }
  if (state.error) {
    std::exception_ptr error;
    std::swap(error, state.error);
    std::rethrow_exception(error);
  }
}

int available_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    const int count = CPU_COUNT(&set);
    if (count > 0) return count;
  }
  const unsigned hardware = std::thread::hardware_concurrency();
  return hardware ? static_cast<int>(hardware) : 1;
}

}  // namespace lowbit
