#include "lowbit/base/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

namespace lowbit {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceHoweverManyThreads) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (std::size_t count : {0u, 1u, 2u, 7u, 1000u}) {
      std::vector<std::atomic<int>> calls(count);
      pool.parallel_for(count, [&](std::size_t i) { ++calls[i]; });
      for (const auto& c : calls) EXPECT_EQ(c, 1);
    }
  }
}

TEST(ThreadPool, PassesATasksExceptionToTheCallerAndStaysUsable) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.parallel_for(10, [](std::size_t i) {
    if (i == 3) throw std::runtime_error("three");
  }), std::runtime_error);
  std::atomic<int> sum{0};
  pool.parallel_for(10, [&](std::size_t i) { sum += static_cast<int>(i); });
  EXPECT_EQ(sum, 45);
}

TEST(ThreadPool, KeepsJobsApartThatFollowEachOtherAtOnce) {
  // Each job writes its own number: a task of a job that is over, or one taken twice, would be seen.
  for (int threads : {2, 5}) {
    ThreadPool pool(threads);
    std::vector<std::size_t> written(9);
    for (std::size_t job = 1; job <= 20000; ++job) {
      const std::size_t count = 2 + job % 8;
      pool.parallel_for(count, [&](std::size_t i) { written[i] += job; });
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(written[i], job) << "task " << i << " of " << count;
        written[i] = 0;
      }
    }
  }
}

TEST(ThreadPool, FindsWorkersThatHaveGoneToSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> together{0};
    // Every task waits for the two others: only three threads at once get through.
    pool.parallel_for(3, [&](std::size_t) {
      ++together;
      while (together < 3) std::this_thread::yield();
    });
    EXPECT_EQ(together, 3);
  }
}

TEST(ThreadPool, TakesAnyMemoryAsAHint) {
  ThreadPool pool(2);
  std::vector<char> some(100000);
  const MemoryRange ranges[] = {{some.data(), some.size()}, {nullptr, 0}, {reinterpret_cast<const void*>(64), 4096}};
  for (int i = 0; i < 100; ++i) {
    pool.soon(std::span(ranges, static_cast<std::size_t>(i % 4)));
    std::atomic<int> sum{0};
    pool.parallel_for(4, [&](std::size_t task) { sum += static_cast<int>(task); });
    EXPECT_EQ(sum, 6);
  }
}

TEST(Executor, FlushesDenormalsOnEveryThread) {
  ThreadPool pool(2);
  std::atomic<int> flushed{0};
  volatile float tiny = 1e-30f;
  pool.parallel_for(64, [&](std::size_t) { flushed += tiny * tiny * 1e20f == 0.0f; });
  EXPECT_EQ(flushed, 64);
}

}  // namespace
}  // namespace lowbit
