#include "lowbit/kernels/attention.h"

#include <algorithm>
#include <memory>

#include "kernels/float_support.h"
#include "lowbit/base/aligned.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels {
namespace {

using namespace test;

/// Queries, keys and values of one sequence, and what the reference makes of them.
struct Sequence {
  Sequence(const AttentionShape& of, std::size_t count, std::uint64_t seed, double scale = 1)
      : shape(of), rows(count), width(of.heads * of.head_dim), kv_width(of.kv_heads * of.head_dim),
        q(normal_floats(rows * width, seed, scale)), k(normal_floats(rows * kv_width, seed + 1)),
        v(normal_floats(rows * kv_width, seed + 2)) {}

  void run_reference() {
    out.resize(rows * width);
    log_sum.resize(rows * shape.heads);
    const std::size_t d = shape.head_dim, group = shape.heads / shape.kv_heads;
    std::vector<bf16> q16(q.size()), k16(k.size()), v16(v.size());
    std::transform(q.begin(), q.end(), q16.begin(), to_bf16);
    std::transform(k.begin(), k.end(), k16.begin(), to_bf16);
    std::transform(v.begin(), v.end(), v16.begin(), to_bf16);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t h = 0; h < shape.heads; ++h) {
        const std::size_t at = i * width + h * d, column = h / group * d;
        const std::span<float> to(&out[at], d);
        log_sum[h * rows + i] =
            shape.format == AttentionFormat::bf16
                ? reference::attention_row_bf16(
                      std::span<const bf16>(&q16[at], d), i + 1,
                      [&](std::size_t j) { return std::span<const bf16>(&k16[j * kv_width + column], d); },
                      [&](std::size_t j) { return std::span<const bf16>(&v16[j * kv_width + column], d); }, to)
                : reference::attention_row<float>(
                      std::span<const float>(&q[at], d), i + 1,
                      [&](std::size_t j) { return std::span<const float>(&k[j * kv_width + column], d); },
                      [&](std::size_t j) { return std::span<const float>(&v[j * kv_width + column], d); }, to);
      }
  }

  AttentionShape shape;
  std::size_t rows, width, kv_width;
  std::vector<float> q, k, v, out, log_sum;
};

struct Cache {
  Cache(const AttentionShape& shape, std::size_t rows, std::uint8_t fill)
      : capacity((rows + 63) / 64 * 64), memory(key_value_bytes(shape, capacity)) {
    std::memset(memory.data(), fill, memory.size());
  }
  KeyValues view() { return {memory.data(), capacity}; }
  std::size_t capacity;
  Buffer<std::byte> memory;
};

constexpr std::size_t kGap = 5;  // floats between rows of the result: the guard inside

/// Runs the kernel in chunks of `chunk` rows over memory that begins as `fill`; checks bits and guards.
void expect_reference_bits(Executor& executor, const Sequence& s, std::size_t chunk, std::uint8_t fill,
                           const std::string& what) {
  Cache cache(s.shape, s.rows, fill);
  const std::size_t stride = s.width + kGap;
  Guarded out(s.rows * stride);
  std::vector<float> log_sum(s.log_sum.size());
  for (std::size_t first = 0; first < s.rows; first += chunk) {
    const std::size_t rows = std::min(chunk, s.rows - first);
    store_keys(s.shape, cache.view(), first, rows, &s.k[first * s.kv_width], s.kv_width, &s.v[first * s.kv_width],
               s.kv_width);
    std::vector<float> part(s.shape.heads * rows);
    const AttentionJob job{cache.view(), first, rows, &s.q[first * s.width], out.data() + first * stride, part.data()};
    attention(executor, s.shape, 1, &job, s.width, stride);
    for (std::size_t h = 0; h < s.shape.heads; ++h)
      for (std::size_t i = 0; i < rows; ++i) log_sum[h * s.rows + first + i] = part[h * rows + i];
  }
  std::vector<float> got(s.rows * s.width);
  for (std::size_t i = 0; i < s.rows; ++i) {
    std::copy_n(out.data() + i * stride, s.width, &got[i * s.width]);
    for (std::size_t j = s.width; j < stride; ++j) ASSERT_EQ(out.data()[i * stride + j], Guarded::kMark) << what;
  }
  EXPECT_EQ(differing(got, s.out), 0u) << what;
  EXPECT_EQ(differing(log_sum, s.log_sum), 0u) << what;
  EXPECT_TRUE(out.whole()) << what;
}

std::string describe(const Form& form, const Sequence& s, std::size_t chunk) {
  return form.name() + " " + std::string(name_of(s.shape.format)) + " heads " + std::to_string(s.shape.heads) + "/" +
         std::to_string(s.shape.kv_heads) + " of " + std::to_string(s.shape.head_dim) + ", rows " +
         std::to_string(s.rows) + ", chunk " + std::to_string(chunk);
}

class Attention : public testing::TestWithParam<AttentionFormat> {};
INSTANTIATE_TEST_SUITE_P(, Attention, testing::Values(AttentionFormat::f32, AttentionFormat::bf16),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

TEST_P(Attention, GivesTheReferencesBitsForEveryHeadSizeGroupAndLength) {
  const std::size_t heads[][2] = {{4, 2}, {2, 2}, {3, 1}, {5, 1}};
  std::size_t turn = 0;
  for (std::size_t head_dim : {2, 8, 32, 48, 64, 80, 128, 256})
    for (std::size_t rows : {1, 15, 16, 17, 63, 64, 65, 130}) {
      const auto& [all, kv] = heads[turn++ % 4];
      if (head_dim > 64 && rows > 65) continue;
      Sequence s({all, kv, head_dim, GetParam()}, rows, turn);
      s.run_reference();
      for (const Form& form : every_form()) {
        const UseForm use(form);
        SerialExecutor serial;
        // Memory that begins as NaNs: nothing that was not stored may be let in.
        expect_reference_bits(serial, s, rows, 0xFF, describe(form, s, rows));
      }
    }
}

TEST_P(Attention, InChunksAndOnAnyNumberOfThreadsIsThatOfTheWhole) {
  Sequence s({6, 2, 48, GetParam()}, 200, 5);
  s.run_reference();
  for (const Form& form : every_form()) {
    const UseForm use(form);
    for (int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      for (std::size_t chunk : {1, 7, 64, 200})
        expect_reference_bits(pool, s, chunk, 0, describe(form, s, chunk) + " threads " + std::to_string(threads));
    }
  }
}

TEST_P(Attention, TakesMoreQueryHeadsToAKeyHeadThanATaskHolds) {
  Sequence s({70, 1, 8, GetParam()}, 67, 6);
  s.run_reference();
  for (const Form& form : every_form()) {
    const UseForm use(form);
    ThreadPool pool(2);
    expect_reference_bits(pool, s, 67, 0xFF, describe(form, s, 67));
  }
}

TEST_P(Attention, OfExtremeScoresIsThatOfTheReference) {
  // Scores in the hundreds: all but one p are 0 or denormal, and sums are reset when a larger maximum comes.
  for (double scale : {30.0, 300.0}) {
    Sequence s({2, 1, 64, GetParam()}, 130, 7, scale);
    // Values near the least normal number make products that flush to zeros of both signs.
    for (std::size_t i = 0; i < s.v.size(); ++i) s.v[i] *= i % 3 ? 1e-37f : 1.0f;
    s.run_reference();
    for (const Form& form : every_form()) {
      const UseForm use(form);
      SerialExecutor serial;
      for (std::size_t chunk : {1, 130}) expect_reference_bits(serial, s, chunk, 0xFF, describe(form, s, chunk));
    }
  }
}

TEST_P(Attention, OfSeveralSequencesAtOnceIsThatOfEach) {
  const AttentionShape shape{4, 2, 32, GetParam()};
  std::vector<Sequence> sequences;
  for (std::size_t rows : {1, 70, 33, 64}) {
    sequences.emplace_back(shape, rows, rows);
    sequences.back().run_reference();
  }
  for (const Form& form : every_form()) {
    const UseForm use(form);
    ThreadPool pool(3);
    // All but the last row of each as a prompt, then the last rows together: some jobs of the first call are empty.
    std::vector<std::unique_ptr<Cache>> caches;
    std::vector<std::vector<float>> out;
    for (const Sequence& s : sequences) {
      caches.push_back(std::make_unique<Cache>(shape, s.rows, 0));
      store_keys(shape, caches.back()->view(), 0, s.rows, s.k.data(), s.kv_width, s.v.data(), s.kv_width);
      out.emplace_back(s.out.size());
    }
    for (bool last : {false, true}) {
      std::vector<AttentionJob> jobs;
      for (std::size_t i = 0; i < sequences.size(); ++i) {
        const Sequence& s = sequences[i];
        const std::size_t first = last ? s.rows - 1 : 0, rows = last ? 1 : s.rows - 1;
        jobs.push_back(
            {caches[i]->view(), first, rows, s.q.data() + first * s.width, out[i].data() + first * s.width, nullptr});
      }
      attention(pool, shape, jobs.size(), jobs.data(), shape.heads * shape.head_dim, shape.heads * shape.head_dim);
    }
    for (std::size_t i = 0; i < sequences.size(); ++i)
      EXPECT_EQ(differing(out[i], sequences[i].out), 0u) << form.name() << " sequence " << i;
  }
}

TEST_P(Attention, StaysNearASoftmaxInDouble) {
  // A score carries at most about d * 2^-24 * |q||k| (f32) or 2^-8 * |q||k| (bf16: both operands rounded by 2^-9 at
  // most, relatively) of error, over sqrt(d); p moves by that factor, and the weighted mean of the v by twice it at
  // most, times the largest |v|. Sums over 130 keys add 130 * 2^-24, p and v in bfloat16 2^-9 each.
  Sequence s({2, 1, 64, GetParam()}, 130, 8);
  SerialExecutor serial;
  Cache cache(s.shape, s.rows, 0);
  store_keys(s.shape, cache.view(), 0, s.rows, s.k.data(), s.kv_width, s.v.data(), s.kv_width);
  std::vector<float> out(s.rows * s.width), log_sum(s.rows * 2);
  const AttentionJob job{cache.view(), 0, s.rows, s.q.data(), out.data(), log_sum.data()};
  attention(serial, s.shape, 1, &job, s.width, s.width);
  const bool bf = GetParam() == AttentionFormat::bf16;
  for (std::size_t i = 0; i < s.rows; ++i)
    for (std::size_t h = 0; h < 2; ++h) {
      const float* q = &s.q[i * s.width + h * 64];
      std::vector<double> p(i + 1);
      double top = -1e300, q_norm = 0, k_norm = 0, largest = 0;
      for (std::size_t j = 0; j <= i; ++j) {
        double score = 0, norm = 0;
        for (std::size_t d = 0; d < 64; ++d) {
          const double k = s.k[j * 64 + d];
          score += q[d] * k;
          norm += k * k;
          largest = std::max(largest, std::abs(static_cast<double>(s.v[j * 64 + d])));
        }
        p[j] = score / 8;
        top = std::max(top, p[j]);
        k_norm = std::max(k_norm, std::sqrt(norm));
      }
      for (std::size_t d = 0; d < 64; ++d) q_norm += static_cast<double>(q[d]) * q[d];
      q_norm = std::sqrt(q_norm);
      double sum = 0;
      for (double& x : p) sum += x = std::exp(x - top);
      const double score_error = q_norm * k_norm / 8 * ((bf ? 0x1p-8 : 0) + 64 * 0x1p-24);
      const double bound = largest * (2 * score_error + 130 * 0x1p-24 + (bf ? 0x1p-8 : 0)) * 1.1;
      for (std::size_t d = 0; d < 64; ++d) {
        double want = 0;
        for (std::size_t j = 0; j <= i; ++j) want += p[j] / sum * s.v[j * 64 + d];
        ASSERT_NEAR(out[i * s.width + h * 64 + d], want, bound) << i;
      }
      ASSERT_NEAR(log_sum[h * s.rows + i], top + std::log(sum), 2 * score_error + 1e-5);
    }
}

}  // namespace
}  // namespace lowbit::kernels
