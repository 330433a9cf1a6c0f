#include <gtest/gtest.h>

#include <cstring>

#include "backward_support.h"
#include "lowbit/kernels/reference_backward.h"

namespace lowbit::kernels {
namespace {

using namespace test;

struct Shape {
  std::size_t rows, heads, kv_heads, d;
};

/// One sequence: inputs, the forward's results, and the gradients in double. For a forward in bfloat16 the inputs are
/// bfloat16 values, so that double stands for it too.
struct Sequence {
  Shape s;
  AttentionFormat format;
  std::size_t q_width, kv_width;
  std::vector<float> q, k, v, dout, out, log_sum;
  std::vector<double> dq, dk, dv;

  Sequence(const Shape& shape, AttentionFormat f, std::uint64_t seed)
      : s(shape),
        format(f),
        q_width(s.heads * s.d),
        kv_width(s.kv_heads * s.d),
        q(normals(seed, s.rows * q_width)),
        k(normals(seed + 1, s.rows * kv_width)),
        v(normals(seed + 2, s.rows * kv_width)),
        dout(normals(seed + 3, s.rows * q_width)),
        dq(q.size()),
        dk(k.size()),
        dv(v.size()) {
    if (format == AttentionFormat::bf16)
      for (auto* x : {&q, &k, &v})
        for (float& value : *x) value = to_float(to_bf16(value));
    const auto qd = widened(q), kd = widened(k), vd = widened(v), gd = widened(dout);
    std::vector<double> o(q.size()), l(s.heads * s.rows);
    const auto row = [this](auto& x, std::size_t width, std::size_t head) {
      return [&x, width, head, d = s.d](std::size_t i) { return std::span(x).subspan(i * width + head * d, d); };
    };
    for (std::size_t h = 0; h < s.heads; ++h) {
      const std::size_t g = h / (s.heads / s.kv_heads);
      for (std::size_t i = 0; i < s.rows; ++i)
        l[h * s.rows + i] = reference::attention_row<double>(row(qd, q_width, h)(i), i + 1, row(kd, kv_width, g),
                                                             row(vd, kv_width, g), row(o, q_width, h)(i));
      reference::attention_backward_head<double>(
          s.rows, s.d, row(qd, q_width, h), row(kd, kv_width, g), row(vd, kv_width, g), row(o, q_width, h),
          row(gd, q_width, h), [&](std::size_t i) { return l[h * s.rows + i]; }, row(dq, q_width, h),
          row(dk, kv_width, g), row(dv, kv_width, g));
    }
    out = narrowed(o);
    log_sum = narrowed(l);
  }
};

std::vector<float> spread(const std::vector<float>& x, std::size_t rows, std::size_t stride) {
  const std::size_t width = x.size() / rows;
  std::vector<float> y(rows * stride, NAN);
  for (std::size_t r = 0; r < rows; ++r) std::copy_n(x.data() + r * width, width, y.data() + r * stride);
  return y;
}

/// Largest relative errors over all jobs; checks the guard zones.
std::vector<double> errors(Executor& executor, Precision precision, const std::vector<Sequence>& batch) {
  const Shape& s = batch[0].s;
  const std::size_t q_stride = batch[0].q_width + 5, kv_stride = batch[0].kv_width + 3,
                    out_stride = batch[0].q_width + 1;
  std::vector<std::vector<float>> kept;
  std::vector<Guarded> results;
  results.reserve(3 * batch.size());
  std::vector<AttentionBackwardJob> jobs;
  const auto keep = [&](const std::vector<float>& x, std::size_t stride) {
    kept.push_back(spread(x, s.rows, stride));
    return kept.back().data();
  };
  const auto result = [&](std::size_t width, std::size_t stride) {
    results.emplace_back(s.rows, width, stride - width);
    return results.back().data();
  };
  for (const Sequence& x : batch)
    jobs.push_back({keep(x.q, q_stride), keep(x.k, kv_stride), keep(x.v, kv_stride), keep(x.out, out_stride),
                    keep(x.dout, out_stride), x.log_sum.data(), result(x.q_width, q_stride),
                    result(x.kv_width, kv_stride), result(x.kv_width, kv_stride)});
  const AttentionShape shape{s.heads, s.kv_heads, s.d, batch[0].format};
  attention_backward(executor, precision, shape, s.rows, jobs.size(), jobs.data(), q_stride, kv_stride, out_stride);
  std::vector<double> worst(3);
  for (std::size_t j = 0; j < batch.size(); ++j)
    for (std::size_t i = 0; i < 3; ++i) {
      Guarded& got = results[3 * j + i];
      EXPECT_TRUE(got.guards_stand());
      const auto& expected = i == 0 ? batch[j].dq : i == 1 ? batch[j].dk : batch[j].dv;
      // With one row softmax is 1 whatever the scores: dq and dk are 0.
      double error = s.rows > 1 || i == 2 ? relative_error(got.values(), expected) : 0;
      worst[i] = std::max(worst[i], std::isnan(error) ? 1e9 : error);
    }
  return worst;
}

// bf16: rounding one operand puts a product off by about 1.6e-3 in norm (a third of 2^-8, and more for mantissas near
// 1), both by 2.3e-3. The worst case, 2^-7, is for the shape of a handful of values.
TEST(AttentionBackward, AgreesWithTheReferenceInDoubleOnEveryMachine) {
  SerialExecutor serial;
  for (const Shape& s : {Shape{1, 2, 1, 4},
                         {2, 1, 1, 2},
                         {17, 3, 3, 6},
                         {47, 2, 2, 32},
                         {48, 2, 1, 16},
                         {49, 4, 2, 24},
                         {64, 2, 2, 64},
                         {65, 2, 1, 40},
                         {96, 1, 1, 34},
                         {129, 3, 1, 18},
                         {200, 2, 1, 128}})
    for (const AttentionFormat format : {AttentionFormat::f32, AttentionFormat::bf16}) {
      std::vector<Sequence> batch;
      for (std::uint64_t i = 0; i < 2; ++i) batch.emplace_back(s, format, 100 * i + s.rows);
      for (const Machine& machine : machines()) {
        const OnlyMachine only(machine);
        for (const double e : errors(serial, Precision::f32, batch))
          EXPECT_LT(e, 1e-5) << machine.name() << ", " << s.rows << " rows, d " << s.d;
        for (const double e : errors(serial, Precision::bf16, batch))
          EXPECT_LT(e, s.rows * s.d < 16 ? 8e-3 : 4e-3) << machine.name() << ", " << s.rows << " rows, d " << s.d;
      }
    }
}

TEST(AttentionBackward, KeepsEveryBitForAnyNumberOfThreads) {
  const Sequence x({150, 4, 2, 16}, AttentionFormat::f32, 5);
  const AttentionShape shape{4, 2, 16, x.format};
  for (const Machine& machine : machines())
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      const OnlyMachine only(machine);
      std::vector<float> first;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<float> y(x.q.size() + 2 * x.k.size());
        float *dq = y.data(), *dk = dq + x.q.size(), *dv = dk + x.k.size();
        const AttentionBackwardJob job{
            x.q.data(), x.k.data(), x.v.data(), x.out.data(), x.dout.data(), x.log_sum.data(), dq, dk, dv};
        attention_backward(pool, precision, shape, x.s.rows, 1, &job, x.q_width, x.kv_width, x.q_width);
        if (threads == 1) first = y;
        EXPECT_EQ(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)), 0) << machine.name();
      }
    }
}

}  // namespace
}  // namespace lowbit::kernels
