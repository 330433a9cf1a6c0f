#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <string>
#include <tuple>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/kernels/backward.h"
#include "lowbit/kernels/backward_int8.h"
#include "lowbit/kernels/code_rows.h"
#include "lowbit/machine/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Speed of the backward kernels as a share of what the multiply-add units reach when all operands stay in registers,
// measured beside every case in the same run. Usage: kernels_backward_bench [threads] [seconds a case] [part of a
// case's name] [cpu].
namespace lowbit::kernels {
namespace {

bool cpu_time = false;  // of the process: for one thread on a machine that others use

double now() {
  timespec t{};
  clock_gettime(cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

constexpr int kPeakSteps = 50000;
constexpr int kSums = 12;  // more than latency times rate
volatile float sink;

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bf16"))) void peak_bf16() {
  __m512 sums[kSums] = {}, x = {}, y = {};
  for (auto& sum : sums) asm volatile("" : "+v"(sum));  // else they are one to the compiler
  for (int i = 0; i < kPeakSteps; ++i) {
    asm volatile("" : "+v"(x), "+v"(y));
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j)
      sums[j] = _mm512_dpbf16_ps(sums[j], reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(y));
  }
  for (int j = 1; j < kSums; ++j) sums[0] += sums[j];
  sink = sums[0][0];
}
__attribute__((target("avx512f,avx512vnni"))) void peak_int8() {
  __m512i sums[kSums] = {}, x = {}, y = {};
  for (int i = 0; i < kPeakSteps; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) asm volatile("vpdpbusd %2, %1, %0" : "+v"(sums[j]) : "v"(x), "v"(y));
  }
#pragma GCC unroll 12
  for (int j = 1; j < kSums; ++j) sums[0] += sums[j];
  sink = static_cast<float>(sums[0][0]);
}
__attribute__((target("avx512f"))) void peak_f32() {
  __m512 sums[kSums] = {}, x = {}, y = {};
  for (auto& sum : sums) asm volatile("" : "+v"(sum));  // else they are one to the compiler
  for (int i = 0; i < kPeakSteps; ++i) {
    asm volatile("" : "+v"(x), "+v"(y));
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) sums[j] = _mm512_fmadd_ps(x, y, sums[j]);
  }
  for (int j = 1; j < kSums; ++j) sums[0] += sums[j];
  sink = sums[0][0];
}
#endif

/// GFLOP/s of all threads from registers (a multiply and an add are two), once; 0: no such loop for this processor.
double measure_peak(Executor& executor, Precision precision) {
#if defined(__x86_64__)
  const bool bf16 = precision == Precision::bf16 && cpu_features().avx512_bf16;
  if (!cpu_features().avx512) return 0;
  const double start = now();
  const auto threads = static_cast<std::size_t>(executor.threads());
  const bool int8 = precision == Precision::int8;
  executor.parallel_for(threads, [&](std::size_t) { int8 ? peak_int8() : bf16 ? peak_bf16() : peak_f32(); });
  return 2.0 * static_cast<double>(threads) * kPeakSteps * kSums * (int8 ? 64 : bf16 ? 32 : 16) / (now() - start) / 1e9;
#else
  (void)executor, (void)precision;
  return 0;
#endif
}

double budget = 0.5;
std::string only;  // of the cases, those whose name holds this

/// Runs `work` and the peak loop in turn until the time is up; prints the best of each and the median of their ratios.
template <class F>
void report(Executor& executor, Precision precision, const std::string& what, double multiply_adds, F&& work) {
  if (what.find(only) == std::string::npos) return;
  work();
  double best = 0, best_peak = 0;
  std::vector<double> shares;
  for (const double start = now(); now() - start < budget || shares.size() < 3;) {
    const double top = measure_peak(executor, precision);
    const double begin = now();
    work();
    const double rate = 2 * multiply_adds / (now() - begin) / 1e9;
    best = std::max(best, rate);
    best_peak = std::max(best_peak, top);
    shares.push_back(top > 0 ? rate / top : 0);
  }
  std::nth_element(shares.begin(), shares.begin() + static_cast<std::ptrdiff_t>(shares.size() / 2), shares.end());
  fmt::print("{:<44} {:8.1f} GFLOP/s of {:8.1f}, best {:5.1f} %, median {:5.1f} %\n", what, best, best_peak,
             best_peak > 0 ? 100 * best / best_peak : 0, 100 * shares[shares.size() / 2]);
}

/// The median of how many times faster `a` is than `b`, in turns.
template <class F, class G>
void compare(const std::string& what, F&& a, G&& b) {
  if (what.find(only) == std::string::npos) return;
  std::vector<double> ratios;
  for (const double start = now(); now() - start < budget || ratios.size() < 9;) {
    const double begin = now();
    b();
    const double middle = now();
    a();
    ratios.push_back((middle - begin) / (now() - middle));
  }
  std::nth_element(ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2), ratios.end());
  fmt::print("{:<44} {:8.2f} times the speed of bf16 in turns\n", what, ratios[ratios.size() / 2]);
}

std::vector<float> floats(std::size_t n) {
  const Rng rng(5);
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(rng.uniform(i % 65536) - 0.5);
  return x;
}
std::vector<std::uint8_t> codes(std::size_t n) {
  const Rng rng(6);
  std::vector<std::uint8_t> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<std::uint8_t>(rng.below(i % 65536, 16));
  return x;
}

/// Both products of a linear layer. int8 is run in turns with bf16, and the median of their ratios is printed.
void linear(Executor& executor, Precision precision, std::size_t tokens, std::size_t outputs, std::size_t inputs) {
  const Grid& grid = *find_grid("4");
  const auto dy = floats(tokens * outputs), hw = floats(outputs), hx = floats(tokens);
  const std::size_t stride = code_stride(inputs);
  const auto x = codes(tokens * stride), w = codes(outputs * stride);
  std::vector<float> dx(tokens * inputs), dw(outputs * inputs);
  const double work = static_cast<double>(tokens) * static_cast<double>(outputs) * static_cast<double>(inputs);
  const auto run = [&](const char* what, auto&& multiply) {
    const std::string label = fmt::format("{} {} {} x {} x {}", what, name_of(precision), tokens, outputs, inputs);
    if (precision == Precision::int8)
      compare(label, [&] { multiply(Precision::int8); }, [&] { multiply(Precision::bf16); });
    report(executor, precision, label, work, [&] { multiply(precision); });
  };
  const auto product = [&](Precision p, std::size_t m, std::size_t n, std::size_t k, const BackwardOperand& a,
                           const BackwardOperand& b, float* c, bool accumulate) {
    if (p == Precision::int8)
      backward_product_int8(executor, 1, m, n, k, a, b, c, n, accumulate);
    else
      backward_product(executor, p, m, n, k, a, b, c, n, accumulate);
  };
  run("dX", [&](Precision p) {
    const BackwardOperand a{.values = dy.data(), .stride = outputs, .contracted_scale = hw.data()};
    const BackwardOperand b{.codes = w.data(), .grid = &grid, .stride = stride};
    product(p, tokens, inputs, outputs, a, b, dx.data(), false);
  });
  run("dW", [&](Precision p) {
    const BackwardOperand a{.values = dy.data(), .stride = outputs, .transposed = true, .contracted_scale = hx.data()};
    const BackwardOperand b{.codes = x.data(), .grid = &grid, .stride = stride};
    product(p, outputs, inputs, tokens, a, b, dw.data(), true);
  });
}

void attention(Executor& executor, Precision precision, std::size_t jobs, std::size_t rows, std::size_t heads,
               std::size_t kv_heads, std::size_t d) {
  const std::size_t q_size = rows * heads * d, kv_size = rows * kv_heads * d;
  const auto x = floats(jobs * (3 * q_size + 2 * kv_size));
  const std::vector<float> log_sum(jobs * heads * rows, 5.0f);
  std::vector<float> y(jobs * (q_size + 2 * kv_size));
  std::vector<AttentionBackwardJob> job(jobs);
  for (std::size_t i = 0; i < jobs; ++i) {
    const float* from = x.data() + i * (3 * q_size + 2 * kv_size);
    float* to = y.data() + i * (q_size + 2 * kv_size);
    job[i] = {from,
              from + q_size,
              from + q_size + kv_size,
              from + q_size + 2 * kv_size,
              from + 2 * q_size + 2 * kv_size,
              log_sum.data() + i * heads * rows,
              to,
              to + q_size,
              to + q_size + kv_size};
  }
  const AttentionShape shape{heads, kv_heads, d, AttentionFormat::bf16};
  const double visible = static_cast<double>(rows) * static_cast<double>(rows + 1) / 2;
  report(executor, precision,
         fmt::format("attention {} {} x {} rows, {}/{} heads of {}", name_of(precision),
                     jobs, rows, heads, kv_heads, d),
         5 * visible * static_cast<double>(d * heads * jobs), [&] {
           attention_backward(executor, precision, shape, rows, jobs, job.data(), heads * d, kv_heads * d, heads * d);
         });
}

/// Row operations move memory: GB/s of what they must read and write.
void rows(Executor& executor, std::size_t count, std::size_t k) {
  const auto x = floats(count * k), dy = floats(count * k), weight = floats(k), inv = floats(count);
  std::vector<float> dx(count * k), dup(count * k), dweight(k);
  const auto time = [&](const char* what, double streams, auto&& work) {
    double best = 1e9;
    for (int i = 0; i < 20; ++i) {
      const double start = now();
      work();
      best = std::min(best, now() - start);
    }
    fmt::print("{:<44} {:8.1f} GB/s\n", fmt::format("{} {} x {}", what, count, k),
               streams * 4 * static_cast<double>(count * k) / best / 1e9);
  };
  time("rms norm", 3, [&] {
    rms_norm_backward(executor, count, k, x.data(), weight.data(), inv.data(), dy.data(), nullptr, dx.data(),
                      dweight.data());
  });
  time("swiglu", 5,
       [&] { swiglu_backward(executor, count, k, x.data(), dy.data(), k, x.data(), dx.data(), dup.data(), k); });
  time("sum of squares", 1, [&] { sink = static_cast<float>(sum_of_squares(executor, x.size(), x.data())); });
}

}  // namespace
}  // namespace lowbit::kernels

int main(int argc, char** argv) {
  using namespace lowbit;
  using namespace lowbit::kernels;
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : available_threads());
  if (argc > 2) budget = std::atof(argv[2]);
  if (argc > 3) only = argv[3];
  cpu_time = argc > 4 && pool.threads() == 1;
  fmt::print("{}, {} threads, {}{}\n", cpu_features().name, pool.threads(), isa_name(active_isa()),
             cpu_features().avx512_bf16 ? " with bfloat16" : "");
  for (const Precision precision : {Precision::bf16, Precision::f32}) {
    for (const std::size_t tokens : {512, 2048, 8192}) {
      linear(pool, precision, tokens, 256, 256);
      linear(pool, precision, tokens, 768, 256);
      linear(pool, precision, tokens, 512, 1536);
      linear(pool, precision, tokens, 2048, 768);
    }
    linear(pool, precision, 2048, 4096, 256);
    attention(pool, precision, 8, 256, 4, 2, 64);
    attention(pool, precision, 8, 512, 8, 8, 64);
    attention(pool, precision, 2, 1024, 8, 2, 128);
    attention(pool, precision, 8, 512, 8, 8, 32);
  }
  // The layers of the three training steps in docs/lab/results.md (o; gate and up; down), and two of a wide model.
  for (const auto& [tokens, width, mlp] : {std::tuple<std::size_t, std::size_t, std::size_t>{4096, 256, 768},
                                           {4096, 512, 1536},
                                           {2048, 768, 2048},
                                           {4096, 2048, 5632}}) {
    linear(pool, Precision::int8, tokens, width, width);
    linear(pool, Precision::int8, tokens, mlp, width);
    linear(pool, Precision::int8, tokens, width, mlp);
  }
  rows(pool, 4096, 256);
  rows(pool, 4096, 768);
  return 0;
}
