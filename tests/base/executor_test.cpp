#include "lowbit/base/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
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

TEST(Executor, FlushesDenormalsOnEveryThread) {
  ThreadPool pool(2);
  std::atomic<int> flushed{0};
  volatile float tiny = 1e-30f;
  pool.parallel_for(64, [&](std::size_t) { flushed += tiny * tiny * 1e20f == 0.0f; });
  EXPECT_EQ(flushed, 64);
}

}  // namespace
}  // namespace lowbit
