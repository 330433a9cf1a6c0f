#include <algorithm>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/executor.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace lowbit {
namespace {

// Long enough to bridge the gap between two layers of a decode step, short enough not to burn a core between requests.
constexpr int kSpins = 4000;
constexpr std::size_t kLine = 64;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// What soon() named last. Written by the caller alone and read by workers at any moment: a worker that reads half of
// two hints fetches something else, which harms nobody (a fetch never faults).
struct Soon {
  std::atomic<unsigned> version{0};
  std::atomic<const char*> begin[Executor::kMostSoon] = {};
  std::atomic<std::size_t> bytes[Executor::kMostSoon] = {};
};

// How far one worker has come with what is read soon.
class Fetcher {
 public:
  // Some lines more; false when there are none left.
  bool fetch(const Soon& soon) {
    if (const unsigned version = soon.version.load(std::memory_order_acquire); version != version_) {
      version_ = version;
      left_ = kMost;
      // The new list goes on with what is being fetched, or it begins elsewhere.
      range_ = 0;
      while (range_ < Executor::kMostSoon && soon.begin[range_].load(std::memory_order_relaxed) != begin_) ++range_;
      if (range_ == Executor::kMostSoon) range_ = at_ = 0;
    }
    if (range_ == Executor::kMostSoon || left_ == 0) return false;
    const std::size_t bytes = soon.bytes[range_].load(std::memory_order_relaxed);
    begin_ = soon.begin[range_].load(std::memory_order_relaxed);
    for (std::size_t line = 0; line < kLines && at_ < bytes; ++line, at_ += kLine)
      __builtin_prefetch(begin_ + at_, 0, 2);
    left_ -= std::min(left_, kLines * kLine);
    if (at_ >= bytes) {
      ++range_;
      at_ = 0;
    }
    return true;
  }

 private:
  // Few at a time, since a task may come at any moment; no more in all than stays in L2 until it is read.
  static constexpr std::size_t kLines = 4, kMost = 512 << 10;
  unsigned version_ = 0;
  const char* begin_ = nullptr;
  std::size_t range_ = 0, at_ = 0, left_ = 0;
};

}  // namespace

// A job is announced by one store to `ticket`: its number above, the tasks that nobody has taken below. Who takes a
// task counts them down by compare-and-swap. While some are left the job is not over and the caller changes nothing, so
// when the swap succeeds, what was read before it (count, body) belongs to this job. The caller takes tasks too, and
// then waits for the tasks that workers have taken, not for workers: on a busy machine one may be off its core for
// milliseconds, and nobody should wait for it if it has taken nothing.
struct ThreadPool::State {
  // One line, since a waiting worker needs all of it at once: a small product of one row takes few microseconds, and
  // bringing a line over from another core .1 to .5 of one.
  alignas(kLine) std::atomic<std::uint64_t> ticket{0};
  std::atomic<std::size_t> count{0};
  std::atomic<void*> body{nullptr};
  std::atomic<void (*)(void*, std::size_t)> call{nullptr};
  std::atomic<bool> stop{false};

  alignas(kLine) std::atomic<std::size_t> done{0};  // tasks of this job that workers have finished
  alignas(kLine) std::atomic<int> asleep{0};
  std::mutex mutex;
  std::condition_variable wake;
  std::mutex error_mutex;
  std::exception_ptr error;
  alignas(kLine) Soon soon;
  std::vector<std::thread> workers;

  static std::uint32_t job_of(std::uint64_t ticket) { return static_cast<std::uint32_t>(ticket >> 32); }

  // Takes and does tasks of the job `job` until none is left; how many.
  std::size_t work(std::uint32_t job) {
    std::size_t mine = 0;
    std::uint64_t now = ticket.load(std::memory_order_acquire);
    while (job_of(now) == job) {
      const std::uint32_t left = static_cast<std::uint32_t>(now);
      if (left == 0) break;
      const std::size_t task = count.load(std::memory_order_relaxed) - left;
      void* const on = body.load(std::memory_order_relaxed);
      const auto run = call.load(std::memory_order_relaxed);
      if (!ticket.compare_exchange_weak(now, now - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      try {
        run(on, task);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
      }
      ++mine;
      now = ticket.load(std::memory_order_acquire);
    }
    return mine;
  }

  void announce(std::uint64_t next) {
    ticket.store(next);
    // Sequentially consistent, as is the sleeper's count: either it sees the new ticket or we see that it sleeps.
    if (asleep.load() == 0) return;
    { const std::lock_guard lock(mutex); }
    wake.notify_all();
  }

  void worker_loop() {
    const FlushDenormals flush;
    std::uint32_t seen = 0;
    Fetcher fetcher;
    while (true) {
      const auto waiting = [&] { return job_of(ticket.load(std::memory_order_acquire)) == seen; };
      for (int spin = 0; waiting() && spin < kSpins; ++spin)
        if (!fetcher.fetch(soon)) relax();
      if (waiting()) {
        std::unique_lock lock(mutex);
        asleep.fetch_add(1);
        wake.wait(lock, [&] { return job_of(ticket.load()) != seen; });
        asleep.fetch_sub(1);
      }
      seen = job_of(ticket.load(std::memory_order_acquire));
      if (stop.load(std::memory_order_acquire)) return;
      if (const std::size_t mine = work(seen); mine > 0) done.fetch_add(mine, std::memory_order_release);
    }
  }

  std::uint64_t next_job() const { return (std::uint64_t{job_of(ticket.load(std::memory_order_relaxed))} + 1) << 32; }

  void end() {
    stop.store(true, std::memory_order_release);
    announce(next_job());
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1) fail_usage("the number of threads must be at least 1, not {}", threads);
  try {
    for (int i = 1; i < threads; ++i) state_->workers.emplace_back([state = state_.get()] { state->worker_loop(); });
  } catch (const std::system_error& error) {
    const std::size_t made = state_->workers.size();
    state_->end();
    fail("the system gave {} of {} threads ({}); ask for fewer with --threads", made + 1, threads, error.what());
  }
}

ThreadPool::~ThreadPool() { state_->end(); }

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::soon(std::span<const MemoryRange> ranges) {
  if (state_->workers.empty()) return;
  Soon& soon = state_->soon;
  for (std::size_t i = 0; i < kMostSoon; ++i) {
    const MemoryRange range = i < ranges.size() ? ranges[i] : MemoryRange{};
    soon.begin[i].store(static_cast<const char*>(range.begin), std::memory_order_relaxed);
    soon.bytes[i].store(range.bytes, std::memory_order_relaxed);
  }
  soon.version.fetch_add(1, std::memory_order_release);
}

void ThreadPool::run(std::size_t count, Task task) {
  const FlushDenormals flush;
  State& state = *state_;
  if (count <= 1 || state.workers.empty()) {
    for (std::size_t i = 0; i < count; ++i) task(i);
    return;
  }
  assert(count <= UINT32_MAX);
  state.count.store(count, std::memory_order_relaxed);
  state.body.store(task.body, std::memory_order_relaxed);
  state.call.store(task.call, std::memory_order_relaxed);
  state.done.store(0, std::memory_order_relaxed);
  const std::uint64_t job = state.next_job();
  state.announce(job + count);
  const std::size_t others = count - state.work(State::job_of(job));
  for (int spin = 0; state.done.load(std::memory_order_acquire) != others; ++spin) {
    relax();
    if (spin > kSpins) std::this_thread::yield();
  }
  if (state.error) {
    std::exception_ptr error;
    std::swap(error, state.error);
    std::rethrow_exception(error);
  }
}

}  // namespace lowbit
