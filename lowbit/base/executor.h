#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace lowbit {

/// Sets flush-to-zero and denormals-are-zero on this thread while it lives (docs/reference/arithmetic.md), then
/// restores. Every thread that computes holds one.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

struct MemoryRange {
  const void* begin = nullptr;
  std::size_t bytes = 0;
};

/// Runs independent tasks on several threads. Who asks fixes the split: results may depend on `count`, never on
/// how many threads there are or which of them runs what.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual int threads() const = 0;

  /// Memory that coming tasks read, in the order in which they do; at most kMostSoon ranges count. Threads that wait
  /// for work may bring it into their caches. A hint: nothing depends on it, and what it names may vanish.
  static constexpr std::size_t kMostSoon = 4;
  virtual void soon(std::span<const MemoryRange> /*ranges*/) {}

  /// Calls task(i) once for each i < count and returns when all are done, with denormals flushed. Allocates nothing.
  /// An exception from a task is thrown again here, after the others finished. Not reentrant: a task may not call
  /// parallel_for of the same executor.
  template <class F>
  void parallel_for(std::size_t count, F&& task) {
    using Body = std::remove_reference_t<F>;
    run(count, {const_cast<void*>(static_cast<const void*>(std::addressof(task))),
                [](void* body, std::size_t i) { (*static_cast<Body*>(body))(i); }});
  }

 protected:
  struct Task {
    void* body;
    void (*call)(void* body, std::size_t index);
    void operator()(std::size_t index) const { call(body, index); }
  };
  virtual void run(std::size_t count, Task task) = 0;
};

/// Everything on the calling thread.
class SerialExecutor final : public Executor {
 public:
  int threads() const override { return 1; }

 protected:
  void run(std::size_t count, Task task) override;
};

/// Our own threads: threads - 1 workers beside the caller, spinning for a moment and then asleep between calls.
class ThreadPool final : public Executor {
 public:
  /// threads  at least 1. throws Error(failed) when the system refuses a thread.
  explicit ThreadPool(int threads);
  ~ThreadPool() override;
  int threads() const override;
  void soon(std::span<const MemoryRange> ranges) override;

 protected:
  void run(std::size_t count, Task task) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// How many threads this process may use: the processors that its affinity and the CPU quota of its control groups
/// grant it, the quota rounded up; at least 1.
int available_threads();

}  // namespace lowbit
