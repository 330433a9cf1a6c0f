// Float products, attention and row operations beside what the processor can do, on one thread. Every run starts with
// the peaks (fma and vdpbf16ps from registers alone); FLOP/s are printed with their share of the peak of the same form.
//
//   LOWBIT_ISA=avx2 kernels_float_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "lowbit/kernels/attention.h"
#include "lowbit/machine/bf16_unit.h"
#include "lowbit/kernels/elementwise.h"
#include "lowbit/kernels/float_product.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace {

std::vector<float> values(std::size_t n) {
  std::vector<float> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<float>(static_cast<int>(i * 7919 % 2001) - 1000) * 1e-3f;
  return v;
}

/// Seconds of this thread's own processor time: what other programs take meanwhile does not count.
double now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double fast_time(std::vector<double> times) {
  const auto at = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 10);
  std::nth_element(times.begin(), at, times.end());
  return *at;
}

#if defined(__x86_64__)
// Twelve independent sums hide the latency of either instruction. In assembly, so that they stay in registers.
constexpr std::size_t kSums = 12, kSteps = 4096;
#define LOWBIT_TWELVE(op, r)                                                                                      \
  op " %%" r "12, %%" r "13, %%" r "0\n" op " %%" r "12, %%" r "13, %%" r "1\n" op " %%" r "12, %%" r "13, %%" r   \
     "2\n" op " %%" r "12, %%" r "13, %%" r "3\n" op " %%" r "12, %%" r "13, %%" r "4\n" op " %%" r "12, %%" r      \
     "13, %%" r "5\n" op " %%" r "12, %%" r "13, %%" r "6\n" op " %%" r "12, %%" r "13, %%" r "7\n" op " %%" r       \
     "12, %%" r "13, %%" r "8\n" op " %%" r "12, %%" r "13, %%" r "9\n" op " %%" r "12, %%" r "13, %%" r "10\n" op  \
     " %%" r "12, %%" r "13, %%" r "11\n"
#define LOWBIT_CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                        "xmm11", "xmm12", "xmm13"
#define LOWBIT_PEAK(name, op, r)                                                                                 \
  void name() {                                                                                                  \
    asm volatile("vzeroall" ::: LOWBIT_CLOBBERS);                                                                \
    for (std::size_t i = 0; i < kSteps; ++i) asm volatile(LOWBIT_TWELVE(op, r)::: LOWBIT_CLOBBERS);              \
    asm volatile("vzeroupper");                                                                                  \
  }
LOWBIT_PEAK(peak_avx2, "vfmadd231ps", "ymm")
LOWBIT_PEAK(peak_avx512, "vfmadd231ps", "zmm")
LOWBIT_PEAK(peak_bf16, "vdpbf16ps", "zmm")
double flops_of(bool bf16) {
  return 2.0 * kSums * kSteps * (bf16 ? 32 : active_isa() == Isa::avx512 ? 16 : 8);
}
void run_peak(bool bf16) { (bf16 ? peak_bf16 : active_isa() == Isa::avx512 ? peak_avx512 : peak_avx2)(); }

/// FLOP/s of this instruction set, a tenth of many short tries being faster. bf16: of its own instruction where used.
double peak(bool bf16) {
  static double known[2] = {0, 0};
  bf16 = bf16 && bf16_unit_in_use();
  double& found = known[bf16];
  if (found > 0 || active_isa() == Isa::scalar) return found;
  std::vector<double> times(10000);
  for (double& time : times) {
    const double start = now();
    run_peak(bf16);
    time = now() - start;
  }
  return found = flops_of(bf16) / fast_time(times);
}
#else
double peak(bool) { return 0; }
#endif

/// Times each call by itself and reports the time that a tenth of the calls stay below: the machine may be shared, and
/// single readings of the clock are off in either direction.
class Best {
 public:
  explicit Best(benchmark::State& state) : state_(state) {}
  template <class F>
  void run(F&& call) {
    call();
    for (auto _ : state_) {
      const double start = now();
      call();
      times_.push_back(now() - start);
      state_.SetIterationTime(times_.back());
    }
  }
  void flops(double count, bool bf16) {
    const double rate = count / fast_time(times_);
    state_.counters["fast_GFLOP/s"] = rate * 1e-9;
    if (peak(bf16) > 0) state_.counters["share_of_peak"] = rate / peak(bf16);
  }
  void bytes(double count) { state_.counters["fast_GB/s"] = count / fast_time(times_) * 1e-9; }

 private:
  benchmark::State& state_;
  std::vector<double> times_;
};

void BM_Peak(benchmark::State& state) {  // argument: bf16
#if defined(__x86_64__)
  const bool bf16 = state.range(0) != 0 && bf16_unit_in_use();
  if (active_isa() == Isa::scalar) return state.SkipWithError("the scalar form has no peak");
  Best best(state);
  best.run([&] { run_peak(bf16); });
  best.flops(flops_of(bf16), bf16);
#else
  state.SkipWithError("only for x86-64");
#endif
}
BENCHMARK(BM_Peak)->Arg(0)->Arg(1)->UseManualTime();

void BM_FloatProduct(benchmark::State& state) {  // m, n, k
  const auto m = static_cast<std::size_t>(state.range(0)), n = static_cast<std::size_t>(state.range(1)),
             k = static_cast<std::size_t>(state.range(2));
  SerialExecutor serial;
  const auto x = values(m * k), w = values(n * k);
  std::vector<float> y(m * n);
  FloatPanels panels;
  make_panels(serial, n, k, w.data(), panels);
  Best best(state);
  best.run([&] { float_product(serial, m, x.data(), k, panels, y.data(), n); });
  best.flops(2.0 * static_cast<double>(m * n * k), false);
  best.bytes(static_cast<double>(n * k * 4));
}
BENCHMARK(BM_FloatProduct)
    ->ArgsProduct({{1, 2, 4, 8, 64, 256, 1024}, {576, 1024}, {576, 1024}})
    ->Args({512, 4096, 1024})->Args({512, 1024, 4096})->Args({1, 8192, 4096})->Args({4, 8192, 4096})->UseManualTime();

void BM_Bf16Product(benchmark::State& state) {  // m, n, k
  const auto m = static_cast<std::size_t>(state.range(0)), n = static_cast<std::size_t>(state.range(1)),
             k = static_cast<std::size_t>(state.range(2));
  SerialExecutor serial;
  const auto x = values(m * k), w = values(n * k);
  std::vector<float> y(m * n);
  std::vector<bf16> rows(m * bf16_stride(k));
  Bf16Panels panels;
  make_panels(serial, n, k, w.data(), panels);
  round_rows(serial, m, k, x.data(), k, rows.data());
  Best best(state);
  best.run([&] { bf16_product(serial, m, rows.data(), panels, y.data(), n); });
  best.flops(2.0 * static_cast<double>(m * n * k), true);
  best.bytes(static_cast<double>(n * k * 2));
}
BENCHMARK(BM_Bf16Product)
    ->ArgsProduct({{1, 2, 4, 8, 64, 256, 1024}, {576, 1024}, {576, 1024}})
    ->Args({512, 32768, 1024})
    ->Args({512, 1024, 4096})
    ->Args({1, 32768, 1024})
    ->Args({4, 32768, 1024})
    ->UseManualTime();

void BM_MakePanels(benchmark::State& state) {  // bf16
  SerialExecutor serial;
  const std::size_t n = 1024, k = 1024;
  const auto w = values(n * k);
  FloatPanels panels;
  Bf16Panels small;
  Best best(state);
  best.run([&] {
    if (state.range(0))
      make_panels(serial, n, k, w.data(), small);
    else
      make_panels(serial, n, k, w.data(), panels);
  });
  best.bytes(static_cast<double>(n * k * (state.range(0) ? 6 : 8)));
}
BENCHMARK(BM_MakePanels)->Arg(0)->Arg(1)->UseManualTime();

void BM_RoundRows(benchmark::State& state) {
  SerialExecutor serial;
  const std::size_t rows = 512, k = 1024;
  const auto x = values(rows * k);
  std::vector<bf16> y(rows * k);
  Best best(state);
  best.run([&] { round_rows(serial, rows, k, x.data(), k, y.data()); });
  best.bytes(static_cast<double>(rows * k * 6));
}
BENCHMARK(BM_RoundRows)->UseManualTime();

void BM_Attention(benchmark::State& state) {  // bf16, queries, keys before them, head_dim, heads, kv heads
  const bool bf16 = state.range(0) != 0;
  const auto rows = static_cast<std::size_t>(state.range(1)), before = static_cast<std::size_t>(state.range(2)),
             d = static_cast<std::size_t>(state.range(3)), heads = static_cast<std::size_t>(state.range(4)),
             kv = static_cast<std::size_t>(state.range(5));
  const AttentionShape shape{heads, kv, d, bf16 ? AttentionFormat::bf16 : AttentionFormat::f32};
  SerialExecutor serial;
  const std::size_t total = before + rows, capacity = (total + 63) / 64 * 64;
  Buffer<std::byte> memory(key_value_bytes(shape, capacity));
  const KeyValues cache{memory.data(), capacity};
  const auto kv_values = values(total * kv * d), q = values(rows * heads * d);
  store_keys(shape, cache, 0, total, kv_values.data(), kv * d, kv_values.data(), kv * d);
  std::vector<float> out(rows * heads * d);
  const AttentionJob job{cache, before, rows, q.data(), out.data(), nullptr};
  Best best(state);
  best.run([&] { attention(serial, shape, 1, &job, heads * d, heads * d); });
  // Four floating-point operations for each query, key it sees, and dim.
  const double pairs =
      static_cast<double>(rows) * static_cast<double>(before) + static_cast<double>(rows * (rows + 1) / 2);
  best.flops(4.0 * pairs * static_cast<double>(heads * d), bf16);
  best.bytes(static_cast<double>(total * 2 * kv * d * (bf16 ? 2 : 4)));
}
BENCHMARK(BM_Attention)
    ->ArgsProduct({{0, 1}, {512}, {0, 512}, {64, 128}, {8}, {2}})
    ->ArgsProduct({{0, 1}, {1}, {511, 4095}, {64}, {8}, {2, 8}})
    ->ArgsProduct({{0, 1}, {512}, {0}, {48}, {8}, {8}})
    ->UseManualTime();

void BM_StoreKeys(benchmark::State& state) {  // bf16
  const AttentionShape shape{8, 8, 64, state.range(0) ? AttentionFormat::bf16 : AttentionFormat::f32};
  Buffer<std::byte> memory(key_value_bytes(shape, 512));
  const auto k = values(512 * 512);
  Best best(state);
  best.run([&] { store_keys(shape, {memory.data(), 512}, 0, 512, k.data(), 512, k.data(), 512); });
  best.bytes(2.0 * 512 * 512 * (state.range(0) ? 6 : 8));
}
BENCHMARK(BM_StoreKeys)->Arg(0)->Arg(1)->UseManualTime();

constexpr std::size_t kRows = 128, kWidth = 1024;  // 512 KiB a tensor: in L2

void BM_Copy(benchmark::State& state) {  // what the row operations are measured against
  const auto x = values(kRows * kWidth);
  auto y = x;
  Best best(state);
  best.run([&] {
    std::memcpy(y.data(), x.data(), x.size() * 4);
    benchmark::ClobberMemory();
  });
  best.bytes(8.0 * kRows * kWidth);
}
BENCHMARK(BM_Copy)->UseManualTime();

void BM_RmsNorm(benchmark::State& state) {
  SerialExecutor serial;
  const auto x = values(kRows * kWidth), w = values(kWidth);
  auto y = x;
  Best best(state);
  best.run([&] { rms_norm(serial, kRows, kWidth, x.data(), w.data(), 1e-5f, y.data(), nullptr); });
  best.bytes(8.0 * kRows * kWidth);
}
BENCHMARK(BM_RmsNorm)->UseManualTime();

void BM_Swiglu(benchmark::State& state) {
  SerialExecutor serial;
  const auto x = values(kRows * kWidth), w = values(kRows * kWidth);
  auto y = x;
  Best best(state);
  best.run([&] { swiglu(serial, kRows, kWidth, x.data(), w.data(), kWidth, y.data()); });
  best.bytes(12.0 * kRows * kWidth);
}
BENCHMARK(BM_Swiglu)->UseManualTime();

void BM_Add(benchmark::State& state) {
  SerialExecutor serial;
  const auto x = values(kRows * kWidth);
  std::vector<float> y(x.size());
  Best best(state);
  best.run([&] { add_in_place(serial, x.size(), y.data(), x.data()); });
  best.bytes(12.0 * kRows * kWidth);
}
BENCHMARK(BM_Add)->UseManualTime();

void BM_Rope(benchmark::State& state) {  // head_dim
  SerialExecutor serial;
  const auto d = static_cast<std::size_t>(state.range(0));
  const RopeTable table = make_rope_table(d, kRows, 10000.0);
  auto x = values(kRows * kWidth);
  std::vector<std::int32_t> position(kRows);
  for (std::size_t i = 0; i < kRows; ++i) position[i] = static_cast<std::int32_t>(i);
  Best best(state);
  best.run([&] { rope(serial, table, kRows, kWidth / d, x.data(), kWidth, position.data()); });
  best.bytes(8.0 * kRows * kWidth);
}
BENCHMARK(BM_Rope)->Arg(8)->Arg(64)->Arg(128)->UseManualTime();

void BM_RopeTable(benchmark::State& state) {
  Best best(state);
  best.run([&] { benchmark::DoNotOptimize(make_rope_table(64, 2048, 10000.0)); });
}
BENCHMARK(BM_RopeTable)->UseManualTime()->Unit(benchmark::kMillisecond);

void BM_CrossEntropy(benchmark::State& state) {  // with gradient
  SerialExecutor serial;
  const std::size_t rows = 16, n = 32768;
  const auto x = values(rows * n);
  std::vector<float> gradient(rows * n);
  std::vector<std::int32_t> targets(rows, 77);
  std::vector<double> loss(rows);
  Best best(state);
  best.run([&] {
    cross_entropy(serial, rows, n, x.data(), targets.data(), loss.data(), state.range(0) ? gradient.data() : nullptr,
                  1.0f);
  });
  best.bytes(static_cast<double>(rows * n * (state.range(0) ? 8 : 4)));
}
BENCHMARK(BM_CrossEntropy)->Arg(0)->Arg(1)->UseManualTime();

}  // namespace
}  // namespace lowbit::kernels

int main(int argc, char** argv) {
  const lowbit::FlushDenormals flush;
  benchmark::AddCustomContext("instruction set", std::string(lowbit::isa_name(lowbit::active_isa())));
  benchmark::AddCustomContext("processor", lowbit::cpu_features().name);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
