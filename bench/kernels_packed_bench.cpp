// Products with weights read at their own width. Decoding is bound by reading them, so its share is that of a plain
// read loop over the same bytes by the same threads, timed in between; in a cache also the share of register-only
// vpdpbusd. Many rows are compared with the product over bytes. Medians of pairs: a shared machine is noisy.
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/formats/layout.h"
#include "lowbit/kernels/code_product.h"
#include "lowbit/kernels/packed_panels.h"
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

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512vnni"), noinline)) void vpdpbusd_loop() {
  __m512i sum[16];
  __m512i codes = _mm512_set1_epi32(0x01020304), weights = _mm512_set1_epi32(0x03010102);
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (int i = 0; i < kPeakRounds; ++i) {
    asm volatile("" : "+v"(codes), "+v"(weights));  // else the compiler may compute it once
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sum[j] = _mm512_dpbusd_epi32(sum[j], codes, weights);
  }
  for (auto& s : sum) asm volatile("" ::"v"(s));
}

__attribute__((target("avx512f"), noinline)) void read_bytes(const std::uint8_t* p, std::size_t bytes) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
  for (std::size_t i = 0; i + 256 <= bytes; i += 256) {
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 4096), _MM_HINT_T1);
    a = _mm512_or_si512(a, _mm512_loadu_si512(p + i));
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 4096 + 64), _MM_HINT_T1);
    b = _mm512_or_si512(b, _mm512_loadu_si512(p + i + 64));
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 4096 + 128), _MM_HINT_T1);
    c = _mm512_or_si512(c, _mm512_loadu_si512(p + i + 128));
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 4096 + 192), _MM_HINT_T1);
    d = _mm512_or_si512(d, _mm512_loadu_si512(p + i + 192));
  }
  asm volatile("" ::"v"(_mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d))));
}
#endif

double peak_seconds(Executor& executor) {
#if defined(__x86_64__)
  if (cpu_features().avx512)
    return seconds(executor, [&] {
      executor.parallel_for(static_cast<std::size_t>(executor.threads()), [](std::size_t) { vpdpbusd_loop(); });
    });
#endif
  static_cast<void>(executor);
  return 0;
}

ThreadPool& pool(int threads) {
  static std::map<int, std::unique_ptr<ThreadPool>> pools;
  auto& entry = pools[threads];
  if (!entry) entry = std::make_unique<ThreadPool>(threads);
  return *entry;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Rows {
  Buffer<std::uint8_t> codes;
  Buffer<float> scale;
  Buffer<std::int32_t> sum;
  Rows(const Grid& grid, std::size_t rows, std::size_t k) : codes(rows * code_stride(k)), scale(rows), sum(rows) {
    const Rng rng(3);
    for (std::size_t row = 0; row < rows; ++row) {
      scale[row] = 1.0f;
      for (std::size_t i = 0; i < k; ++i) {
        const auto code = rng.bits(row * 64 + i / 64) * (2 * i + 1) >> 32;
        codes[row * code_stride(k) + i] = static_cast<std::uint8_t>(code % static_cast<std::uint64_t>(grid.levels));
        sum[row] += codes[row * code_stride(k) + i];
      }
    }
  }
  CodedRows view() { return {codes.data(), scale.data(), sum.data(), nullptr}; }
};

// Forces an instruction set while it lives; false: the processor lacks it.
struct Forced {
  Isa before = active_isa();
  bool good;
  Forced(benchmark::State& state, Isa isa) : good(isa_supported(isa)) {
    if (good)
      force_isa(isa);
    else
      state.SkipWithError("this processor lacks it");
  }
  ~Forced() { force_isa(before); }
};

// Arguments: threads, M, K, N, MB of matrices that are multiplied in turn.
void BM_Packed(benchmark::State& state, Isa isa, const char* w_name, const char* x_name) {
  const Forced forced(state, isa);
  if (!forced.good) return;
  Executor& executor = pool(static_cast<int>(state.range(0)));
  const auto m = static_cast<std::size_t>(state.range(1)), k = static_cast<std::size_t>(state.range(2)),
             n = static_cast<std::size_t>(state.range(3));
  const Grid &w_grid = *find_grid(w_name), &x_grid = *find_grid(x_name);
  Rows x(x_grid, m, k), w(w_grid, n, k);
  std::vector<PackedPanels> matrices;
  std::size_t bytes = 0;
  while (matrices.empty() || bytes < static_cast<std::size_t>(state.range(4)) << 20) {
    make_panels(executor, w_grid, n, k, w.view(), matrices.emplace_back());
    bytes += matrices.back().data.size();
  }
  const int rounds = static_cast<int>(std::max<std::size_t>(1, (std::size_t{64} << 20) / bytes / m));
  Buffer<float> y(m * n);
  std::vector<double> shares, peaks, read_rates, rates;
  for (auto _ : state) {
    const double read = seconds(executor, [&] {
      for (int i = 0; i < rounds; ++i)
        for (const PackedPanels& p : matrices) {
          const std::size_t chunk = 16384, count = (p.data.size() + chunk - 1) / chunk;
          executor.parallel_for((count + 3) / 4, [&](std::size_t task) {
            const std::size_t begin = 4 * task * chunk;
            read_bytes(p.data.data() + begin, std::min(p.data.size(), begin + 4 * chunk) - begin);
          });
        }
    });
    const double time = seconds(executor, [&] {
      for (int i = 0; i < rounds; ++i)
        for (const PackedPanels& p : matrices) code_product(executor, m, x_grid, x.view(), p, y.data(), n);
    });
    const double peak = peak_seconds(executor);
    state.SetIterationTime(time);
    const double all = static_cast<double>(bytes) * rounds;
    shares.push_back(read / time);
    read_rates.push_back(all / read * 1e-9);
    rates.push_back(all / time * 1e-9);
    if (peak > 0) {
      const double vectors = static_cast<double>(matrices.size() * m * n * k) / 64 * rounds;
      peaks.push_back(vectors / (16.0 * kPeakRounds * executor.threads()) * peak / time);
    }
  }
  state.counters["of_reading"] = median(shares);
  state.counters["of_int8_peak"] = median(peaks);
  state.counters["GBs"] = median(rates);
  state.counters["read_GBs"] = median(read_rates);
}

// Arguments: threads, M, K, N. What many rows cost against weights that lie as bytes.
void BM_AgainstBytes(benchmark::State& state, Isa isa, const char* w_name, const char* x_name) {
  const Forced forced(state, isa);
  if (!forced.good) return;
  Executor& executor = pool(static_cast<int>(state.range(0)));
  const auto m = static_cast<std::size_t>(state.range(1)), k = static_cast<std::size_t>(state.range(2)),
             n = static_cast<std::size_t>(state.range(3));
  const Grid &w_grid = *find_grid(w_name), &x_grid = *find_grid(x_name);
  Rows x(x_grid, m, k), w(w_grid, n, k);
  PackedPanels packed;
  CodePanels panels;
  make_panels(executor, w_grid, n, k, w.view(), packed);
  make_panels(executor, w_grid, n, k, w.view(), panels);
  Buffer<float> y(m * n);
  std::vector<double> ratios, peaks;
  for (auto _ : state) {
    const double bytes = seconds(executor, [&] { code_product(executor, m, x_grid, x.view(), panels, y.data(), n); });
    const double time = seconds(executor, [&] { code_product(executor, m, x_grid, x.view(), packed, y.data(), n); });
    const double peak = peak_seconds(executor);
    state.SetIterationTime(time);
    ratios.push_back(time / bytes);
    peaks.push_back(static_cast<double>(m * n * k) / 64 / (16.0 * kPeakRounds * executor.threads()) * peak / time);
  }
  state.counters["time_over_bytes"] = median(ratios);
  state.counters["of_int8_peak"] = median(peaks);
}

// Arguments: threads. Panels made from the canonical layout and from coded rows, in bytes of panels.
void BM_MakePacked(benchmark::State& state, const char* name, bool canonical) {
  Executor& executor = pool(static_cast<int>(state.range(0)));
  const Grid& grid = *find_grid(name);
  constexpr std::size_t kN = 5632, kK = 2048;
  Rows w(grid, kN, kK);
  const std::size_t row_bytes = canonical_row_bytes(grid, kK);
  std::vector<std::uint8_t> packed(kN * row_bytes);
  for (std::size_t row = 0; row < kN; ++row)
    pack_canonical(grid, {w.codes.data() + row * kK, kK}, {packed.data() + row * row_bytes, row_bytes});
  PackedPanels panels;
  std::vector<double> rates;
  for (auto _ : state) {
    const double time = seconds(executor, [&] {
      if (canonical)
        make_panels(executor, grid, kN, kK, packed, w.scale, panels);
      else
        make_panels(executor, grid, kN, kK, w.view(), panels);
    });
    state.SetIterationTime(time);
    rates.push_back(static_cast<double>(panels.data.size()) / time * 1e-9);
  }
  state.counters["GBs"] = median(rates);
}

void from_memory(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N", "MB"})->UseManualTime();
  for (const int threads : {1, 2})
    for (const int m : {1, 2, 4, 8, 16}) b->Args({threads, m, 2048, 5632, 192});
}
void from_caches(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N", "MB"})->UseManualTime();
  for (const int threads : {1, 2})
    for (const int m : {1, 4, 8, 16})
      for (const int mb : {0, 12}) b->Args({threads, m, 512, 1536, mb});
}
void many_rows(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N"})->UseManualTime();
  for (const int threads : {1, 2})
    for (const auto& [k, n] : {std::pair{576, 1536}, {2048, 5632}, {5632, 2048}})
      for (const int m : {32, 512}) b->Args({threads, m, k, n});
}

#define LOWBIT_PACKED(w, x)                                                                      \
  BENCHMARK_CAPTURE(BM_Packed, avx512_w##w##a##x, Isa::avx512, #w, #x)->Apply(from_memory);      \
  BENCHMARK_CAPTURE(BM_Packed, avx512_w##w##a##x, Isa::avx512, #w, #x)->Apply(from_caches);      \
  BENCHMARK_CAPTURE(BM_Packed, avx2_w##w##a##x, Isa::avx2, #w, #x)->Apply(from_memory);          \
  BENCHMARK_CAPTURE(BM_AgainstBytes, avx512_w##w##a##x, Isa::avx512, #w, #x)->Apply(many_rows);  \
  BENCHMARK_CAPTURE(BM_MakePacked, w##w##_canonical, #w, true)->Arg(1)->Arg(2)->UseManualTime(); \
  BENCHMARK_CAPTURE(BM_MakePacked, w##w##_bytes, #w, false)->Arg(1)->Arg(2)->UseManualTime()
LOWBIT_PACKED(1, 8);
LOWBIT_PACKED(2, 8);
LOWBIT_PACKED(3, 8);
LOWBIT_PACKED(4, 8);
LOWBIT_PACKED(5, 8);
LOWBIT_PACKED(6, 8);
LOWBIT_PACKED(7, 8);
LOWBIT_PACKED(8, 8);
LOWBIT_PACKED(4, 4);

}  // namespace
}  // namespace lowbit::kernels

int main(int argc, char** argv) {
  const lowbit::FlushDenormals flush;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
