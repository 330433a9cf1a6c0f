#include <gtest/gtest.h>

#include <cstring>

#include "backward_support.h"
#include "lowbit/kernels/reference_backward.h"

namespace lowbit::kernels {
namespace {

using namespace test;

std::vector<std::size_t> lengths() {
  std::vector<std::size_t> all{255, 256, 257, 500};
  for (std::size_t k = 1; k <= 70; k += k < 34 ? 1 : 5) all.push_back(k);
  return all;
}

TEST(RmsNormBackward, AgreesWithTheReferenceInDoubleOnEveryMachine) {
  SerialExecutor serial;
  for (const std::size_t rows : {1, 33, 70})
    for (const std::size_t k : lengths()) {
      const auto x = normals(1, rows * k), weight = normals(2, k), dy = normals(3, rows * k),
                 start = normals(4, rows * k), dweight_start = normals(5, k);
      std::vector<float> inv(rows);
      std::vector<double> dx(rows * k), sum(rows * k), dweight = widened(dweight_start);
      const auto x_d = widened(x), weight_d = widened(weight), dy_d = widened(dy);
      for (std::size_t r = 0; r < rows; ++r) {
        std::vector<double> y(k);
        const auto row = std::span(x_d).subspan(r * k, k);
        inv[r] = static_cast<float>(reference::rms_norm_row<double>(row, weight_d, 1e-5, y));
        reference::rms_norm_backward_row<double>(row, weight_d, inv[r], std::span(dy_d).subspan(r * k, k),
                                                 std::span(dx).subspan(r * k, k), dweight);
      }
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = dx[i] + static_cast<double>(start[i]);
      // dx is a small difference of larger terms where k is small: the bound is on the terms' scale.
      double terms = 0, error = 0;
      for (const Machine& machine : machines())
        for (const bool accumulate : {false, true}) {
          const OnlyMachine only(machine);
          Guarded got(rows, k, 0), got_weight(1, k, 0);
          got.fill(start);
          got_weight.fill(dweight_start);
          rms_norm_backward(serial, rows, k, x.data(), weight.data(), inv.data(), dy.data(),
                            accumulate ? start.data() : nullptr, got.data(), got_weight.data());
          ASSERT_TRUE(got.guards_stand() && got_weight.guards_stand());
          const auto values = got.values();
          terms = error = 0;
          for (std::size_t i = 0; i < values.size(); ++i) {
            const double d = static_cast<double>(values[i]) - (accumulate ? sum : dx)[i];
            const double term = inv[i / k] * weight_d[i % k] * dy_d[i];
            error += d * d;
            terms += term * term;
          }
          EXPECT_LT(std::sqrt(error / terms), 1e-5) << machine.name() << " " << rows << " x " << k;
          EXPECT_LT(relative_error(got_weight.values(), dweight), 1e-5) << machine.name() << " " << rows << " x " << k;
        }
    }
}

TEST(RmsNormBackward, KeepsEveryBitForAnyNumberOfThreads) {
  const std::size_t rows = 1000, k = 67;
  const auto x = normals(1, rows * k), weight = normals(2, k), dy = normals(3, rows * k), inv = normals(4, rows);
  for (const Machine& machine : machines()) {
    const OnlyMachine only(machine);
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      std::vector<float> out(rows * k + k);
      rms_norm_backward(pool, rows, k, x.data(), weight.data(), inv.data(), dy.data(), nullptr, out.data(),
                        out.data() + rows * k);
      if (threads == 1) first = out;
      EXPECT_EQ(std::memcmp(first.data(), out.data(), out.size() * sizeof(float)), 0) << threads << machine.name();
    }
  }
}

TEST(SwigluBackward, AgreesWithTheReferenceInDoubleAndStaysFiniteAtTheEnds) {
  SerialExecutor serial;
  for (const std::size_t k : lengths()) {
    const std::size_t rows = 5, stride = k + 3;
    auto gate = normals(1, rows * stride, 4);
    const auto up = normals(2, rows * stride), dy = normals(3, rows * k);
    const float ends[] = {0.0f, -0.0f, 80.0f, -80.0f, 100.0f, -100.0f, 1e30f, -1e30f};
    for (std::size_t i = 0; i < 8 && i < k; ++i) gate[2 * stride + i] = ends[i];
    for (const Machine& machine : machines()) {
      const OnlyMachine only(machine);
      Guarded dgate(rows, k, 2), dup(rows, k, 2);
      swiglu_backward(serial, rows, k, gate.data(), up.data(), stride, dy.data(), dgate.data(), dup.data(),
                      dgate.stride);
      ASSERT_TRUE(dgate.guards_stand() && dup.guards_stand()) << machine.name() << " " << k;
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t i = 0; i < k; ++i) {
          const double g = gate[r * stride + i], u = up[r * stride + i], d = dy[r * k + i];
          const auto [to_gate, to_up] = reference::swiglu_backward<double>(g, u, d);
          // The factor 1 + g (1 - s) passes through 0: its rounding errors are those of its terms.
          EXPECT_NEAR(dgate.at(r, i), to_gate, 1e-5 * std::abs(d * u)) << machine.name() << " gate " << g;
          EXPECT_NEAR(dup.at(r, i), to_up, 1e-5 * std::abs(to_up) + 1e-30) << machine.name() << " gate " << g;
        }
    }
  }
}

TEST(SwigluBackward, StoresLargeResultsPastTheCachesWithTheSameBits) {
  const std::size_t rows = 1100, k = 528;  // 4.6 MB of results
  const auto gate = normals(1, rows * k), up = normals(2, rows * k), dy = normals(3, rows * k);
  std::vector<std::size_t> ready(rows);
  for (const Machine& machine : machines()) {
    const OnlyMachine only(machine);
    Buffer<float> whole(2 * rows * k + 16), apart(2 * rows * k + 16);  // the second off the cache lines
    std::fill(ready.begin(), ready.end(), 0);
    ThreadPool pool(2);
    swiglu_backward(pool, rows, k, gate.data(), up.data(), k, dy.data(), whole.data(), whole.data() + rows * k, k,
                    [&](std::size_t first, std::size_t count) {
                      for (std::size_t r = first; r < first + count; ++r) ++ready[r];
                    });
    swiglu_backward(pool, rows, k, gate.data(), up.data(), k, dy.data(), apart.data() + 1, apart.data() + 1 + rows * k,
                    k);
    EXPECT_EQ(std::memcmp(whole.data(), apart.data() + 1, 2 * rows * k * sizeof(float)), 0) << machine.name();
    EXPECT_EQ(std::count(ready.begin(), ready.end(), 1u), static_cast<std::ptrdiff_t>(rows))
        << "each row made ready once";
  }
}

TEST(EmbeddingBackward, AddsRowsInAscendingOrderToTheBit) {
  const std::size_t rows = 60, vocabulary = 7;
  for (const std::size_t k : {1, 15, 17, 64, 130, 200}) {
    const Rng rng(9);
    std::vector<std::int32_t> ids(rows);
    for (std::size_t i = 0; i < rows; ++i) ids[i] = static_cast<std::int32_t>(rng.below(i, vocabulary));
    const auto dy = normals(1, rows * k), start = normals(2, vocabulary * k);
    std::vector<float> expected = start;
    reference::embedding_backward<float>(ids, k, dy, expected);
    for (const Machine& machine : machines())
      for (const int threads : {1, 3}) {
        const OnlyMachine only(machine);
        ThreadPool pool(threads);
        Guarded table(vocabulary, k, 0);
        table.fill(start);
        embedding_backward(pool, rows, k, ids.data(), dy.data(), table.data());
        EXPECT_TRUE(table.guards_stand());
        EXPECT_EQ(table.values(), expected) << machine.name() << " " << k;
      }
  }
}

TEST(SumOfSquares, IsExactToDoubleAndTheSameForAnyNumberOfThreads) {
  for (const std::size_t n : {0, 1, 7, 16, 33, 16383, 16384, 16385, 100003}) {
    const auto x = normals(1, n, 1e-3);
    long double expected = 0;
    for (const float v : x) expected += static_cast<long double>(v) * static_cast<long double>(v);
    for (const Machine& machine : machines()) {
      const OnlyMachine only(machine);
      ThreadPool one(1), three(3);
      const double got = sum_of_squares(one, n, x.data());
      EXPECT_NEAR(got, static_cast<double>(expected), 1e-13 * static_cast<double>(expected))
          << machine.name() << " " << n;
      EXPECT_EQ(got, sum_of_squares(three, n, x.data()));
    }
  }
}

}  // namespace
}  // namespace lowbit::kernels
