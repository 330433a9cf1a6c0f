// Coding rows and multiplying codes, each as a share of a ceiling that is measured in between, in the same run:
// register-only vpdpbusd (TOP/s: a multiply and an add are two). Best and median over all iterations; machines that are
// shared are noisy, so trust the best of many.
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/formats/format.h"
#include "lowbit/kernels/code_product.h"
#include "lowbit/kernels/code_rows.h"
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

#if defined(__x86_64__)
// 16 independent sums hide the latency. 128 operations (64 multiplies, 64 adds) an instruction.
__attribute__((target("avx512f,avx512bw,avx512vnni"), noinline)) void vpdpbusd_loop(int rounds) {
  __m512i sum[16];
  __m512i codes = _mm512_set1_epi32(0x01020304), weights = _mm512_set1_epi32(0x03010102);
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (int i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(codes), "+v"(weights));  // else the compiler may compute it once
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) sum[j] = _mm512_dpbusd_epi32(sum[j], codes, weights);
  }
  for (auto& s : sum) asm volatile("" ::"v"(s));
}
#endif

// Short work is timed several times over, since a processor-time clock may tick in tens of microseconds.
int repeats_of(double operations) { return operations < 5e7 ? static_cast<int>(5e7 / operations) + 1 : 1; }

constexpr int kPeakRounds = 20000;
constexpr double kPeakOperations = 16.0 * 128 * kPeakRounds;

// Seconds of the peak loop on every thread at once; 0 where there is no such instruction.
double peak_seconds(Executor& executor) {
#if defined(__x86_64__)
  if (cpu_features().avx512)
    return seconds(executor, [&] {
      executor.parallel_for(static_cast<std::size_t>(executor.threads()),
                            [](std::size_t) { vpdpbusd_loop(kPeakRounds); });
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

struct Rows {
  Buffer<std::uint8_t> codes;
  Buffer<float> scale;
  Buffer<std::int32_t> sum;
  Buffer<std::uint64_t> mask;
  CodedRows view;
  Rows(std::size_t rows, std::size_t k)
      : codes(rows * code_stride(k)),
        scale(rows),
        sum(rows),
        mask(rows * mask_words(k)),
        view{codes.data(), scale.data(), sum.data(), mask.data()} {}
};

Buffer<float> normals(std::size_t n) {
  const Rng rng(7);
  Buffer<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(rng.normal(i % 65536));
  return x;
}

// Arguments: threads, M, K, N.
void BM_CodeProduct(benchmark::State& state, Isa isa, const char* w_name, const char* x_name) {
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
  Rows x(m, k), w(n, k);
  const int group = hadamard_group(static_cast<std::int64_t>(k));
  code_rows(executor, {&x_grid, group, 2.0}, m, k, normals(m * k).data(), k, x.view);
  code_rows(executor, {&w_grid, group, 2.0}, n, k, normals(n * k).data(), k, w.view);
  CodePanels panels;
  make_panels(executor, w_grid, n, k, w.view, panels);
  Buffer<float> y(m * n);
  const double operations = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const double scale = operations / (kPeakOperations * executor.threads());
  const int repeats = repeats_of(operations);
  std::vector<double> shares;
  double best = 1e9, best_peak = 1e9;
  for (auto _ : state) {
    const double peak = peak_seconds(executor);
    const double time = seconds(executor,
                                [&] {
                                  for (int i = 0; i < repeats; ++i)
                                    code_product(executor, m, x_grid, x.view, panels, y.data(), n);
                                }) /
                        repeats;
    state.SetIterationTime(time);
    best = std::min(best, time);
    if (peak > 0) {
      best_peak = std::min(best_peak, peak);
      shares.push_back(scale * peak / time);
    }
  }
  if (!shares.empty()) {
    std::nth_element(shares.begin(), shares.begin() + static_cast<std::ptrdiff_t>(shares.size() / 2), shares.end());
    state.counters["share_median"] = shares[shares.size() / 2];
    state.counters["share_best"] = scale * best_peak / best;
  }
  state.counters["TOPs_best"] = operations / best * 1e-12;
  // What decoding is bound by: each weight read once.
  state.counters["GBs_weights_best"] = static_cast<double>(n * code_stride(k)) / best * 1e-9;
  force_isa(before);
}

// Arguments: threads, rows, K. The share is that of the product with K outputs which follows, were it at the int8 peak.
void BM_CodeRows(benchmark::State& state, Isa isa, const char* grid_name, bool with_mask) {
  if (!isa_supported(isa)) {
    state.SkipWithError("this processor lacks it");
    return;
  }
  const Isa before = active_isa();
  force_isa(isa);
  Executor& executor = pool(static_cast<int>(state.range(0)));
  const auto rows = static_cast<std::size_t>(state.range(1)), k = static_cast<std::size_t>(state.range(2));
  const Buffer<float> x = normals(rows * k);
  Rows out(rows, k);
  if (!with_mask) out.view.mask = nullptr;
  const RowCoding coding{find_grid(grid_name), hadamard_group(static_cast<std::int64_t>(k)), 2.0};
  const double operations = 2.0 * static_cast<double>(rows) * static_cast<double>(k) * static_cast<double>(k);
  const int repeats = repeats_of(100 * static_cast<double>(rows * k));
  double best = 1e9, best_peak = 1e9;
  for (auto _ : state) {
    const double peak = peak_seconds(executor);
    const double time = seconds(executor,
                                [&] {
                                  for (int i = 0; i < repeats; ++i)
                                    code_rows(executor, coding, rows, k, x.data(), k, out.view);
                                }) /
                        repeats;
    state.SetIterationTime(time);
    best = std::min(best, time);
    if (peak > 0) best_peak = std::min(best_peak, peak);
  }
  if (best_peak < 1)
    state.counters["share_of_layer"] = best / (operations / (kPeakOperations * executor.threads()) * best_peak);
  state.counters["Gvalues_per_s_best"] = static_cast<double>(rows * k) / best * 1e-9;
  force_isa(before);
}

void training_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N"})->UseManualTime();
  for (const int threads : {1, 2})
    for (const auto& [k, n] : {std::pair{256, 256},
                               {256, 768},
                               {768, 256},
                               {576, 1536},
                               {1536, 576},
                               {2048, 2048},
                               {2048, 5632},
                               {5632, 2048}})
      b->Args({threads, 512, k, n});
}
void decode_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N"})->UseManualTime();
  for (const int threads : {1, 2})
    for (const int m : {1, 4, 8})
      for (const auto& [k, n] : {std::pair{576, 1536}, {2048, 5632}, {5632, 2048}}) b->Args({threads, m, k, n});
}
void few_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "M", "K", "N"})
      ->UseManualTime()
      ->Args({1, 512, 2048, 2048})
      ->Args({1, 512, 256, 768})
      ->Args({1, 1, 2048, 2048});
}
void row_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"threads", "rows", "K"})->UseManualTime();
  for (const int threads : {1, 2})
    for (const int k : {256, 576, 2048, 5632}) b->Args({threads, 1 << 20 >> (k > 1000 ? 11 : 9), k});
  b->Args({1, 1, 2048});
}

BENCHMARK_CAPTURE(BM_CodeProduct, avx512_w4a4, Isa::avx512, "4", "4")->Apply(training_shapes);
BENCHMARK_CAPTURE(BM_CodeProduct, avx512_w4a4_decode, Isa::avx512, "4", "4")->Apply(decode_shapes);
BENCHMARK_CAPTURE(BM_CodeProduct, avx2_w4a4, Isa::avx2, "4", "4")->Apply(few_shapes);
BENCHMARK_CAPTURE(BM_CodeProduct, avx2_w4a8, Isa::avx2, "4", "8")->Apply(few_shapes);
BENCHMARK_CAPTURE(BM_CodeProduct, avx2_w8a8, Isa::avx2, "8", "8")->Apply(few_shapes);
BENCHMARK_CAPTURE(BM_CodeRows, avx512_4bit_masked, Isa::avx512, "4", true)->Apply(row_shapes);
BENCHMARK_CAPTURE(BM_CodeRows, avx512_4bit, Isa::avx512, "4", false)->Apply(row_shapes);
BENCHMARK_CAPTURE(BM_CodeRows, avx2_4bit_masked, Isa::avx2, "4", true)->Apply(row_shapes);
BENCHMARK_CAPTURE(BM_CodeRows, scalar_4bit_masked, Isa::scalar, "4", true)
    ->ArgNames({"threads", "rows", "K"})
    ->UseManualTime()
    ->Args({1, 64, 2048});

}  // namespace
}  // namespace lowbit::kernels

int main(int argc, char** argv) {
  const lowbit::FlushDenormals flush;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
