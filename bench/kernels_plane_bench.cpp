// Products of codes by bit planes, in turns with three things in the same run: the register-only loop xor + vpopcntd +
// add (share_*: of it, an operation being a product of two bits or its addition), our own product of bytes on the same
// codes (over_int8_*), and for one or few rows a loop that only reads the weights (read_share_*). Medians of pairs and
// best of all; machines that are shared are noisy.
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/kernels/code_product.h"
#include "lowbit/kernels/plane_product.h"
#include "lowbit/machine/isa.h"

#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's AVX-512 intrinsics, as in the kernels
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace lowbit::kernels {
namespace {

// Of one thread its processor time, so that other programs on the machine count less; of several the clock's.
template <class F>
double seconds(const Executor& executor, F&& work) {
  const clockid_t clock = executor.threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  timespec begin{}, end{};
  clock_gettime(clock, &begin);
  work();
  clock_gettime(clock, &end);
  return static_cast<double>(end.tv_sec - begin.tv_sec) + 1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
}

constexpr int kPeakRounds = 20000;
constexpr double kPeakOperations = 12.0 * 1024 * kPeakRounds;

#if defined(__x86_64__)
// 12 independent sums; 512 products of bits and as many additions in three instructions.
__attribute__((target("avx512f,avx512vpopcntdq"), noinline)) void xor_popcount_add_loop(int rounds) {
  __m512i sum[12];
  const __m512i x = _mm512_set1_epi32(0x01020304), w = _mm512_set1_epi32(0x03010102);
#pragma GCC unroll 12
  for (int j = 0; j < 12; ++j) sum[j] = _mm512_setzero_si512();
#pragma GCC unroll 1
  for (int i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) {
      __m512i d;
      asm volatile("vpxord %2, %3, %1\n\tvpopcntd %1, %1\n\tvpaddd %1, %0, %0"
                   : "+v"(sum[j]), "=&v"(d)
                   : "v"(w), "v"(x));
    }
  }
#pragma GCC unroll 12
  for (int j = 0; j < 12; ++j) asm volatile("" ::"v"(sum[j]));
}

__attribute__((target("avx512f"), noinline)) void read_loop(const std::uint32_t* data, std::size_t dwords) {
  __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (std::size_t i = 0; i + 64 <= dwords; i += 64) {
    const __m512i a = _mm512_or_si512(_mm512_load_si512(data + i), _mm512_load_si512(data + i + 16));
    const __m512i b = _mm512_or_si512(_mm512_load_si512(data + i + 32), _mm512_load_si512(data + i + 48));
    sum = _mm512_or_si512(sum, _mm512_or_si512(a, b));
  }
  asm volatile("" ::"v"(sum));
}
#endif

// Seconds of the loop on every thread at once; 0 where there is no such instruction.
double peak_seconds(Executor& executor) {
#if defined(__x86_64__)
  if (cpu_features().avx512_vpopcntdq)
    return seconds(executor, [&] {
      executor.parallel_for(static_cast<std::size_t>(executor.threads()),
                            [](std::size_t) { xor_popcount_add_loop(kPeakRounds); });
    });
#endif
  static_cast<void>(executor);
  return 0;
}

double read_seconds(Executor& executor, const Buffer<std::uint32_t>& data) {
#if defined(__x86_64__)
  if (cpu_features().avx512) {
    const std::size_t parts = 8 * static_cast<std::size_t>(executor.threads()), part = data.size() / parts / 64 * 64;
    return seconds(executor, [&] {
      executor.parallel_for(parts, [&](std::size_t i) { read_loop(data.data() + i * part, part); });
    });
  }
#endif
  static_cast<void>(executor), static_cast<void>(data);
  return 0;
}

ThreadPool& pool(int threads) {
  static std::map<int, std::unique_ptr<ThreadPool>> pools;
  auto& entry = pools[threads];
  if (!entry) entry = std::make_unique<ThreadPool>(threads);
  return *entry;
}

struct Rows {
  Buffer<std::uint8_t> codes;
  Buffer<float> scale;
  Buffer<std::int32_t> sum;
  CodedRows view;
  Rows(const Grid& grid, std::size_t rows, std::size_t k)
      : codes(rows * code_stride(k)), scale(rows), sum(rows), view{codes.data(), scale.data(), sum.data(), nullptr} {
    const Rng rng(7);
    std::vector<std::uint8_t> random(65536 + 64);
    for (std::size_t i = 0; i < random.size(); ++i)
      random[i] = static_cast<std::uint8_t>(rng.below(i, static_cast<std::uint64_t>(grid.levels)));
    for (std::size_t row = 0; row < rows; ++row) {
      scale[row] = 1.0f;
      for (std::size_t i = 0; i < k; ++i) {
        const std::uint8_t u = random[(row * 4099 + i) % 65536];
        codes[row * code_stride(k) + i] = u;
        sum[row] += u;
      }
    }
  }
};

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Arguments: threads, M, K, N.
void BM_PlaneProduct(benchmark::State& state, Isa isa, const char* w_name, const char* x_name) {
  if (!isa_supported(isa)) {
    state.SkipWithError("this processor lacks it");
    return;
  }
  const Isa before = active_isa();
  force_isa(isa);
  Executor& executor = pool(static_cast<int>(state.range(0)));
  const auto m = static_cast<std::size_t>(state.range(1)), k = static_cast<std::size_t>(state.range(2)),
             n = static_cast<std::size_t>(state.range(3));
  const Grid &w_grid = *find_grid(w_name), &x_grid = *find_grid(x_name);
  Rows x(x_grid, m, k), w(w_grid, n, k);
  PlanePanels planes;
  make_plane_panels(executor, w_grid, n, k, w.view, planes);
  CodePanels bytes;
  make_panels(executor, w_grid, n, k, w.view, bytes);
  Buffer<float> y(m * n);
  const double operations = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const double bit_operations = operations * plane_count(x_grid) * plane_count(w_grid);
  const double scale = bit_operations / (kPeakOperations * executor.threads());
  // Short work is timed several times over, since a processor-time clock may tick in tens of microseconds.
  const int repeats = bit_operations < 5e8 ? static_cast<int>(5e8 / bit_operations) + 1 : 1;
  const bool reads = m <= 16;
  std::vector<double> shares, times_int8, read_shares;
  double best = 1e9, best_peak = 1e9, best_int8 = 1e9, best_read = 1e9;
  for (auto _ : state) {
    const double peak = peak_seconds(executor);
    const auto timed = [&](auto&& work) {
      return seconds(executor, [&] { for (int i = 0; i < repeats; ++i) work(); }) / repeats;
    };
    const double time = timed([&] { plane_product(executor, m, x_grid, x.view, planes.bits(), y.data(), n); });
    const double int8 = timed([&] { code_product(executor, m, x_grid, x.view, bytes, y.data(), n); });
    const double read = reads ? timed([&] { read_seconds(executor, planes.data); }) : 0;
    state.SetIterationTime(time);
    best = std::min(best, time);
    best_int8 = std::min(best_int8, int8);
    times_int8.push_back(int8 / time);
    if (reads) {
      best_read = std::min(best_read, read);
      read_shares.push_back(read / time);
    }
    if (peak > 0) {
      best_peak = std::min(best_peak, peak);
      shares.push_back(scale * peak / time);
    }
  }
  if (!shares.empty()) {
    state.counters["share_median"] = median(shares);
    state.counters["share_best"] = scale * best_peak / best;
  }
  state.counters["over_int8_median"] = median(times_int8);
  state.counters["over_int8_best"] = best_int8 / best;
  state.counters["TOPs_best"] = operations / best * 1e-12;
  state.counters["int8_TOPs_best"] = operations / best_int8 * 1e-12;
  if (reads) {
    state.counters["GBs_weights_best"] = 4.0 * static_cast<double>(planes.data.size()) / best * 1e-9;
    state.counters["read_share_median"] = median(read_shares);
    state.counters["read_share_best"] = best_read / best;
  }
  force_isa(before);
}

// Arguments: threads, N, K. Panels of planes from codes, as after every step of training: GB/s of codes read.
void BM_MakePlanePanels(benchmark::State& state, const char* name) {
  Executor& executor = pool(static_cast<int>(state.range(0)));
  const auto n = static_cast<std::size_t>(state.range(1)), k = static_cast<std::size_t>(state.range(2));
  const Grid& grid = *find_grid(name);
  Rows w(grid, n, k);
  PlanePanels planes;
  CodePanels bytes;
  double best = 1e9, best_bytes = 1e9;
  for (auto _ : state) {
    const double time = seconds(executor, [&] { make_plane_panels(executor, grid, n, k, w.view, planes); });
    best_bytes = std::min(best_bytes, seconds(executor, [&] { make_panels(executor, grid, n, k, w.view, bytes); }));
    state.SetIterationTime(time);
    best = std::min(best, time);
  }
  state.counters["GBs_codes_best"] = static_cast<double>(n * k) / best * 1e-9;
  state.counters["GBs_codes_to_bytes_best"] = static_cast<double>(n * k) / best_bytes * 1e-9;
}
BENCHMARK_CAPTURE(BM_MakePlanePanels, 1, "1")
    ->ArgNames({"threads", "N", "K"})->UseManualTime()->Iterations(25)->Args({1, 2048, 2048});
BENCHMARK_CAPTURE(BM_MakePlanePanels, 2, "2")
    ->ArgNames({"threads", "N", "K"})->UseManualTime()->Iterations(25)->Args({1, 2048, 2048});

constexpr std::pair<int, int> kLayers[] = {{576, 576},   {576, 1536},  {1536, 576},
                                           {2048, 2048}, {2048, 5632}, {5632, 2048}};

void many_rows(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N"})->UseManualTime()->Iterations(25);
  for (const int threads : {1, 2})
    for (const auto& [k, n] : kLayers) b->Args({threads, 512, k, n});
}
void few_rows(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N"})->UseManualTime()->Iterations(25);
  for (const int threads : {1, 2})
    for (const int m : {1, 4})
      for (const auto& [k, n] : {std::pair{576, 1536}, {2048, 5632}, {4096, 32768}})
        b->Args({threads, m, k, n});
}
void one_shape(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N"})->UseManualTime()->Iterations(25);
  b->Args({1, 512, 2048, 2048})->Args({1, 512, 2048, 16})->Args({1, 1, 2048, 2048});
}

#define LOWBIT_PLANES(W, X, SHAPES) \
  BENCHMARK_CAPTURE(BM_PlaneProduct, avx512_w##W##a##X##_##SHAPES, Isa::avx512, #W, #X)->Apply(SHAPES)
LOWBIT_PLANES(1, 1, many_rows);
LOWBIT_PLANES(1, 2, many_rows);
LOWBIT_PLANES(2, 1, many_rows);
LOWBIT_PLANES(2, 2, many_rows);
LOWBIT_PLANES(1, 1, one_shape);
LOWBIT_PLANES(2, 2, one_shape);
LOWBIT_PLANES(1, 3, one_shape);
LOWBIT_PLANES(1, 4, one_shape);
LOWBIT_PLANES(3, 1, one_shape);
LOWBIT_PLANES(2, 3, one_shape);
LOWBIT_PLANES(1, 1, few_rows);
LOWBIT_PLANES(2, 2, few_rows);
BENCHMARK_CAPTURE(BM_PlaneProduct, avx512_w158a1, Isa::avx512, "1.58", "1")->Apply(one_shape);
BENCHMARK_CAPTURE(BM_PlaneProduct, avx2_w1a1, Isa::avx2, "1", "1")->Apply(one_shape);
BENCHMARK_CAPTURE(BM_PlaneProduct, avx2_w2a2, Isa::avx2, "2", "2")->Apply(one_shape);

}  // namespace
}  // namespace lowbit::kernels

int main(int argc, char** argv) {
  const lowbit::FlushDenormals flush;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
