#include "lowbit/machine/ceilings.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "lowbit/base/interrupt.h"
#include "lowbit/machine/memory.h"
#include "lowbit/machine/peak_loops.h"

namespace lowbit {
namespace {

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

constexpr std::size_t index(Ceiling c) { return static_cast<std::size_t>(c); }
bool reads(Ceiling c) { return c >= Ceiling::l1; }

/// All of several threads reach it before any goes on.
class Gate {
 public:
  explicit Gate(std::size_t threads) : missing_(threads) {}
  void pass() {
    missing_.fetch_sub(1, std::memory_order_acq_rel);
    while (missing_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  }

 private:
  std::atomic<std::size_t> missing_;
};

}  // namespace

std::string_view ceiling_name(Ceiling c) {
  constexpr std::string_view names[] = {"clock", "f32", "bf16", "int8", "binary", "L1", "L2", "L3", "memory"};
  return names[index(c)];
}

std::string_view ceiling_unit(Ceiling c) { return c == Ceiling::clock ? "GHz" : reads(c) ? "GB/s" : "GOP/s"; }

Figure figure_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const double median = values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, values.front(), values.back()};
}

struct CeilingMeter::State {
  Executor& executor;
  double seconds;
  PeakLoops loops = peak_loops();
  CacheSizes caches = cache_sizes();
  std::size_t threads = static_cast<std::size_t>(executor.threads());
  std::vector<LargePages> memory = std::vector<LargePages>(threads);   ///< each thread's own
  std::vector<std::size_t> place = std::vector<std::size_t>(threads);  ///< where it goes on reading
  std::array<long, kCeilings> iterations{};                            ///< of a loop, or passes over the bytes

  /// How many bytes each thread reads again and again, so that they lie in that level and not in one below it.
  std::size_t bytes_of(Ceiling level) const {
    const std::size_t l1 = caches.l1 ? caches.l1 : 32 << 10, l2 = caches.l2 ? caches.l2 : 8 * l1;
    const std::size_t l3 = caches.l3;
    const auto blocks = [](std::size_t bytes) { return std::max<std::size_t>(1, bytes / 4096) * 4096; };
    const std::size_t all = std::max<std::size_t>(std::size_t{256} << 20, 4 * std::max(l2 * threads, l3));
    switch (level) {
      case Ceiling::l1:
        return blocks(l1 / 2);
      case Ceiling::l2:
        return blocks(l2 / 2);
      case Ceiling::l3:
        if (l3 > 4 * l2) return blocks(std::max(2 * l2, l3 / 2 / threads));
        [[fallthrough]];
      default:
        return blocks(all / threads);
    }
  }

  /// A thread touches its own memory first, so that it lies near.
  void take_memory(std::size_t thread, std::size_t bytes) {
    if (memory[thread].size() >= bytes) return;
    memory[thread] = LargePages(bytes);
    std::memset(memory[thread].data(), 0x55, bytes);
  }

  /// returns operations, bytes or cycles done by one thread.
  double work(std::size_t thread, Ceiling c, long count) {
    switch (c) {
      case Ceiling::clock:
        return static_cast<double>(clock_loop(count));
      case Ceiling::f32:
        return static_cast<double>(loops.f32(count));
      case Ceiling::bf16:
        return static_cast<double>(loops.bf16(count));
      case Ceiling::int8:
        return static_cast<double>(loops.int8(count));
      case Ceiling::binary:
        return static_cast<double>(loops.binary(count));
      default:
        break;
    }
    // In pieces, each going on where the last one ended: so a short measurement of the memory meets other bytes each
    // time.
    const std::size_t bytes = bytes_of(c), piece = std::min<std::size_t>(bytes, 1 << 20);
    const std::byte* data = memory[thread].data();
    for (long i = 0; i < count; ++i) {
      if (place[thread] + piece > bytes) place[thread] = 0;
      loops.read(data + place[thread], piece / kReadBlock * kReadBlock);
      place[thread] += piece;
    }
    return static_cast<double>(count) * static_cast<double>(piece / kReadBlock * kReadBlock);
  }

  struct Run {
    double rate, seconds;  ///< per second; the longest processor time of a thread
    double overlap;  ///< share of the time from the first start to the last end in which all threads had a processor
  };
  Run run(Ceiling c, Timing timing, long count) {
    std::vector<double> done(threads), own(threads), begin(threads), end(threads);
    Gate gate(threads);
    executor.parallel_for(threads, [&](std::size_t i) {
      if (reads(c)) take_memory(i, bytes_of(c));
      gate.pass();
      begin[i] = now(CLOCK_MONOTONIC);
      const double own_begin = now(CLOCK_THREAD_CPUTIME_ID);
      done[i] = work(i, c, count);
      own[i] = std::max(1e-9, now(CLOCK_THREAD_CPUTIME_ID) - own_begin);
      end[i] = now(CLOCK_MONOTONIC);
    });
    double sum = 0, rates = 0, shortest = own[0];
    for (std::size_t i = 0; i < threads; ++i) {
      sum += done[i];
      rates += done[i] / own[i];
      shortest = std::min(shortest, own[i]);
    }
    const double wall = *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
    return {timing == Timing::clock ? sum / wall : rates, *std::max_element(own.begin(), own.end()), shortest / wall};
  }

  /// What threads share they must have used at the same time: where other programs kept one of them waiting, again, and
  /// in shorter measurements, which are interrupted less.
  Run run_together(Ceiling c, Timing timing, long count) {
    constexpr double kTogether = 0.9;
    constexpr int kTries = 24;
    if (timing == Timing::clock || threads == 1 || (c != Ceiling::l3 && c != Ceiling::memory))
      return run(c, timing, count);
    Run best{};
    for (int i = 0; i < kTries && best.overlap < kTogether; ++i) {
      const Run again = run(c, timing, std::max(1L, count / 4));
      if (again.overlap > best.overlap) best = again;
    }
    return best;
  }

  /// Doubles the count until one measurement takes long enough to be told apart from the clock's ticks.
  void find_iterations(Ceiling c) {
    long& count = iterations[index(c)];
    if (count > 0) return;
    for (count = 1; count < 1L << 40; count *= 2) {
      const double took = run(c, Timing::processor, count).seconds;
      if (took < seconds / 2) continue;
      count = std::max<long>(1, static_cast<long>(static_cast<double>(count) * seconds / took));
      return;
    }
  }
};

CeilingMeter::CeilingMeter(Executor& executor, double seconds) : state_(new State{executor, seconds}) {}
CeilingMeter::~CeilingMeter() = default;

double CeilingMeter::rate(Ceiling ceiling, Timing timing) {
  state_->find_iterations(ceiling);
  return state_->run_together(ceiling, timing, state_->iterations[index(ceiling)]).rate;
}

Ceilings measure_ceilings(Executor& executor, int rounds) {
  Ceilings result;
  result.processor = cpu_features().name;
  result.isa = active_isa();
  result.threads = executor.threads();
  result.caches = cache_sizes();
  const LoadWatch watch;
  SerialExecutor alone;
  CeilingMeter one(alone), all(executor);
  std::array<std::vector<double>, kCeilings> ones, alls;
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < kCeilings; ++i) {
      check_interrupt("stopped while the ceilings were measured; nothing was kept");
      const auto c = static_cast<Ceiling>(i);
      ones[i].push_back(one.rate(c, CeilingMeter::Timing::processor));
      alls[i].push_back(executor.threads() == 1 ? ones[i].back() : all.rate(c, CeilingMeter::Timing::processor));
    }
  for (std::size_t i = 0; i < kCeilings; ++i) {
    result.one[i] = figure_of(std::move(ones[i]));
    result.all[i] = figure_of(std::move(alls[i]));
  }
  result.load = watch.so_far();
  return result;
}

}  // namespace lowbit
