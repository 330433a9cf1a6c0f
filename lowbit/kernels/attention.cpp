#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/attention.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "lowbit/base/math.h"
#include "lowbit/kernels/attention.h"
#include "lowbit/kernels/attention_task.h"
#include "lowbit/kernels/float_tile-inl.h"
#include "lowbit/kernels/reference.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

constexpr std::size_t kBlock = reference::kKeyBlock;
constexpr std::size_t kTaskRows = 48;  // queries whose running state is kept on the stack while the key blocks pass

/// Queries of a tile against P panels of keys: scores[r][16 p + lane] = (q_r . key) * scale.
template <class Words, std::size_t R, std::size_t P>
HWY_NOINLINE void score_tile(const float* const* q, const float* keys, std::size_t words, float scale, float* scores) {
  const Float d;
  FloatVector sums[R][P * kParts];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < P * kParts; ++i) sums[r][i] = hn::Zero(d);
  accumulate<Words, R, P>(sums, q, keys, words * 16, 16, words);
  const auto factor = hn::Set(d, scale);
#pragma GCC unroll 16
  for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < P * kParts; ++i)
      hn::StoreU(hn::Mul(sums[r][i], factor), d, scores + r * kBlock + i * kLanes);
}

/// out[r][16 p + lane] = out * correction[r], then plus p_r[step] v[step], step by step.
template <class Words, std::size_t R, std::size_t P>
HWY_NOINLINE void value_tile(const float* const* p, const float* values, std::size_t stride, std::size_t steps,
                             const float* correction, float* const* out) {
  const Float d;
  FloatVector sums[R][P * kParts];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < R; ++r) {
    const auto factor = hn::Set(d, correction[r]);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < P * kParts; ++i)
      sums[r][i] = hn::Mul(hn::LoadU(d, out[r] + i * kLanes), factor);
  }
  accumulate<Words, R, P>(sums, p, values, 16, stride, steps);
#pragma GCC unroll 16
  for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < P * kParts; ++i) hn::StoreU(sums[r][i], d, out[r] + i * kLanes);
}

/// Running state of the queries of a task, and what a tile of them needs for one block of keys.
struct State {
  alignas(64) float out[kTaskRows][kLongestHead];
  alignas(64) float p[6][kBlock];          // scores, then p
  alignas(64) float q[kTaskRows][kLongestHead / 2];  // bfloat16 pairs
  alignas(64) float pairs[6][kBlock / 2];  // p as bfloat16 pairs
  const float* query[kTaskRows];           // words
  float m[kTaskRows], l[kTaskRows];
};

/// From scores of one row to p (0 past count), the factor on what is summed so far, and the new maximum and sum.
HWY_INLINE float softmax_step(float* p, std::size_t count, float& m, float& l) {
  const Float d;
  constexpr std::size_t kVectors = kBlock / kLanes;
  FloatVector s[kVectors];
  auto top = hn::Set(d, m);
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kVectors; ++i) {
    s[i] = hn::LoadU(d, p + i * kLanes);
    if (count < kBlock) {
      const std::size_t first = i * kLanes;
      s[i] = hn::IfThenElse(hn::FirstN(d, count > first ? count - first : 0), s[i], lowest);
    }
    top = hn::Max(s[i], top);  // in this order a NaN score is passed over, as in the reference
  }
  const float new_m = hn::GetLane(hn::MaxOfLanes(d, top));
  top = hn::Set(d, new_m);
  const float correction = hn::GetLane(exp(hn::Sub(hn::Set(d, m), top)));
  FloatVector part[kParts];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kVectors; ++i) {
    auto e = exp(hn::Sub(s[i], top));
    if (count < kBlock) {
      const std::size_t first = i * kLanes;
      e = hn::IfThenElseZero(hn::FirstN(d, count > first ? count - first : 0), e);
    }
    hn::StoreU(e, d, p + i * kLanes);
    part[i % kParts] = i < kParts ? e : hn::Add(part[i % kParts], e);
  }
  l = math::fma(l, correction, tree_sum(part));
  m = new_m;
  return correction;
}

/// One tile of R queries against one block of keys. counts[r] of the keys are seen by query r, at least 1.
template <class Words, std::size_t R>
void block_tile(State& state, std::size_t row, const std::size_t* counts, std::size_t words, std::size_t head_dim,
                float scale, const float* keys, const float* values) {
  constexpr bool kPairs = !std::is_same_v<Words, FloatWords>;
  const Float d;
  std::size_t least = counts[0], most = counts[0];
  for (std::size_t r = 1; r < R; ++r) {
    least = counts[r] < least ? counts[r] : least;
    most = counts[r] > most ? counts[r] : most;
  }
  const std::size_t key_panels = (most + 15) / 16;
  std::size_t panel = 0;
  for (; panel + Words::kPanels <= key_panels; panel += Words::kPanels)
    score_tile<Words, R, Words::kPanels>(state.query + row, keys + panel * words * 16, words, scale,
                                         state.p[0] + panel * 16);
  for (; panel < key_panels; ++panel)
    score_tile<Words, R, 1>(state.query + row, keys + panel * words * 16, words, scale, state.p[0] + panel * 16);

  float correction[R];
  for (std::size_t r = 0; r < R; ++r) {
    correction[r] = softmax_step(state.p[r], counts[r], state.m[row + r], state.l[row + r]);
    if constexpr (kPairs)
      for (std::size_t i = 0; i < kBlock; i += kLanes)
        store_bf16(hn::LoadU(d, state.p[r] + i), state.pairs[r] + i / 2);
  }

  // The keys that all queries of the tile see go together, the rest query by query: an absent key is not one of p = 0,
  // whose product could turn a -0 into a 0, or meet an infinity left behind in memory.
  const std::size_t stride = padded_head(head_dim);
  const std::size_t together = kPairs ? least / 2 : least;
  const float* p[R];
  for (std::size_t r = 0; r < R; ++r) p[r] = kPairs ? state.pairs[r] : state.p[r];
  float* out[R];
  std::size_t dim = 0;
  for (; dim + 16 * Words::kPanels <= stride; dim += 16 * Words::kPanels) {
    for (std::size_t r = 0; r < R; ++r) out[r] = state.out[row + r] + dim;
    value_tile<Words, R, Words::kPanels>(p, values + dim, stride, together, correction, out);
  }
  for (; dim < stride; dim += 16) {
    for (std::size_t r = 0; r < R; ++r) out[r] = state.out[row + r] + dim;
    value_tile<Words, R, 1>(p, values + dim, stride, together, correction, out);
  }
  const float one = 1.0f;
  for (std::size_t r = 0; r < R; ++r) {
    const std::size_t steps = kPairs ? counts[r] / 2 : counts[r];
    const float* rest = p[r] + together;
    if (steps > together)
      for (dim = 0; dim < stride; dim += 16) {
        float* to = state.out[row + r] + dim;
        value_tile<Words, 1, 1>(&rest, values + together * stride + dim, stride, steps - together, &one, &to);
      }
    if (kPairs && counts[r] % 2 == 1) {
      // The absent partner of the last key is p = 0 and v = 0, whatever memory holds.
      const hn::RebindToUnsigned<Float> du;
      bf16 last;
      std::memcpy(&last, p[r] + steps, sizeof(last));
      const PairWords::Halves weight{hn::Set(d, to_float(last)), hn::Zero(d)};
      for (dim = 0; dim < stride; dim += kLanes) {
        const auto pair = hn::BitCast(du, hn::LoadU(d, values + steps * stride + dim));
        const PairWords::Halves value{hn::BitCast(d, hn::ShiftLeft<16>(pair)), hn::Zero(d)};
        float* to = state.out[row + r] + dim;
        hn::StoreU(PairWords::step(hn::LoadU(d, to), weight, value), d, to);
      }
    }
  }
}

template <class Words>
void block_tile_of(std::size_t rows, State& state, std::size_t row, const std::size_t* counts, std::size_t words,
                   std::size_t head_dim, float scale, const float* keys, const float* values) {
  static_assert(Words::kRows == 4 || Words::kRows == 6);
  if constexpr (Words::kRows == 6) {
    if (rows == 6) return block_tile<Words, 6>(state, row, counts, words, head_dim, scale, keys, values);
    if (rows == 5) return block_tile<Words, 5>(state, row, counts, words, head_dim, scale, keys, values);
  }
  if (rows == 4) return block_tile<Words, 4>(state, row, counts, words, head_dim, scale, keys, values);
  if (rows == 3) return block_tile<Words, 3>(state, row, counts, words, head_dim, scale, keys, values);
  if (rows == 2) return block_tile<Words, 2>(state, row, counts, words, head_dim, scale, keys, values);
  block_tile<Words, 1>(state, row, counts, words, head_dim, scale, keys, values);
}

/// Rows first .. first + rows - 1 of a task, row i being head i % group of position i / group.
template <class Words>
HWY_INLINE void attend_rows(const AttentionTask& t, std::size_t first, std::size_t rows) {
  constexpr bool kPairs = !std::is_same_v<Words, FloatWords>;
  const Float d;
  const std::size_t words = kPairs ? t.head_dim / 2 : t.head_dim, stride = padded_head(t.head_dim);
  const float scale = static_cast<float>(1.0 / math::sqrt(static_cast<double>(t.head_dim)));
  State state;
  for (std::size_t i = 0; i < rows; ++i) {
    const float* q = t.q + (first + i) / t.group * t.q_stride + (first + i) % t.group * t.head_dim;
    if constexpr (kPairs) {
      for (std::size_t j = 0; j < t.head_dim; j += kLanes)
        store_bf16(load_first(q + j, t.head_dim - j), state.q[i] + j / 2);
      q = state.q[i];
    }
    state.query[i] = q;
    state.m[i] = -std::numeric_limits<float>::infinity();
    state.l[i] = 0;
    for (std::size_t j = 0; j < stride; j += kLanes) hn::Store(hn::Zero(d), d, state.out[i] + j);
  }
  const std::size_t last_block = t.position / kBlock;
  for (std::size_t block = 0; block <= last_block; ++block) {
    const float* keys = t.cache.keys + block * kBlock * words;
    const float* values = t.cache.values + block * (kPairs ? kBlock / 2 : kBlock) * stride;
    for (std::size_t row = 0; row < rows; row += Words::kRows) {
      const std::size_t tile = rows - row < Words::kRows ? rows - row : Words::kRows;
      std::size_t counts[Words::kRows];
      for (std::size_t r = 0; r < tile; ++r)
        counts[r] = block < last_block ? kBlock : (t.position + (first + row + r) / t.group) % kBlock + 1;
      block_tile_of<Words>(tile, state, row, counts, words, t.head_dim, scale, keys, values);
    }
  }
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t position = (first + i) / t.group, head = (first + i) % t.group;
    float* out = t.out + position * t.out_stride + head * t.head_dim;
    const auto inverse = hn::Set(d, 1.0f / state.l[i]);
    for (std::size_t j = 0; j < t.head_dim; j += kLanes) {
      store_first(hn::Mul(hn::Load(d, state.out[i] + j), inverse), out + j, t.head_dim - j);
    }
    if (t.log_sum)
      t.log_sum[head * t.log_sum_stride + position] =
          state.m[i] + static_cast<float>(math::log(static_cast<double>(state.l[i])));
  }
}

template <class Words>
HWY_INLINE void attend(const AttentionTask& t) {
  const std::size_t rows = t.count * t.group;
  for (std::size_t first = 0; first < rows; first += kTaskRows)
    attend_rows<Words>(t, first, rows - first < kTaskRows ? rows - first : kTaskRows);
}

void float_attention(const AttentionTask& task) { attend<FloatWords>(task); }
void pair_attention(const AttentionTask& task) { attend<PairWords>(task); }
#if HWY_TARGET == HWY_AVX3
void bf16_attention(const AttentionTask& task) { attend<Bf16Words>(task); }
#endif

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include <algorithm>
#include <array>
#include <cassert>
#include <span>

#include "lowbit/machine/bf16_unit.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

// The reference itself, reading keys out of their panels.
void float_attention(const AttentionTask& t) {
  const std::size_t d = t.head_dim, stride = padded_head(d);
  std::array<float, kLongestHead> key;
  const auto key_of = [&](std::size_t j) {
    const float* panel = t.cache.keys + j / 16 * d * 16 + j % 16;
    for (std::size_t i = 0; i < d; ++i) key[i] = panel[i * 16];
    return std::span<const float>(key.data(), d);
  };
  const auto value_of = [&](std::size_t j) { return t.cache.values + j * stride; };
  for (std::size_t i = 0; i < t.count; ++i)
    for (std::size_t h = 0; h < t.group; ++h) {
      const float log_sum =
          reference::attention_row<float>(std::span(t.q + i * t.q_stride + h * d, d), t.position + i + 1, key_of,
                                          value_of, std::span(t.out + i * t.out_stride + h * d, d));
      if (t.log_sum) t.log_sum[h * t.log_sum_stride + i] = log_sum;
    }
}

void pair_attention(const AttentionTask& t) {
  const std::size_t d = t.head_dim, stride = padded_head(d);
  const auto* keys = reinterpret_cast<const bf16*>(t.cache.keys);
  const auto* values = reinterpret_cast<const bf16*>(t.cache.values);
  std::array<bf16, kLongestHead> key, q;
  const auto key_of = [&](std::size_t j) {
    const bf16* panel = keys + j / 16 * d * 16 + j % 16 * 2;
    for (std::size_t i = 0; i < d; ++i) key[i] = panel[i / 2 * 32 + i % 2];
    return std::span<const bf16>(key.data(), d);
  };
  struct EverySecond {
    const bf16* first;
    bf16 operator[](std::size_t i) const { return first[2 * i]; }
  };
  const auto value_of = [&](std::size_t j) { return EverySecond{values + j / 2 * stride * 2 + j % 2}; };
  for (std::size_t i = 0; i < t.count; ++i)
    for (std::size_t h = 0; h < t.group; ++h) {
      for (std::size_t j = 0; j < d; ++j) q[j] = to_bf16(t.q[i * t.q_stride + h * d + j]);
      const float log_sum =
          reference::attention_row_bf16(std::span<const bf16>(q.data(), d), t.position + i + 1, key_of, value_of,
                                        std::span(t.out + i * t.out_stride + h * d, d));
      if (t.log_sum) t.log_sum[h * t.log_sum_stride + i] = log_sum;
    }
}

}  // namespace scalar

namespace {

/// How many positions a task takes: a power of two, so that no task crosses a block of keys.
std::size_t positions_per_task(const AttentionShape& shape) {
  std::size_t positions = reference::kKeyBlock;
  while (positions > 1 && positions * (shape.heads / shape.kv_heads) > reference::kKeyBlock) positions /= 2;
  return positions;
}

}  // namespace

void attention(Executor& executor, const AttentionShape& shape, std::size_t jobs, const AttentionJob* job,
               std::size_t q_stride, std::size_t out_stride) {
  const std::size_t step = positions_per_task(shape), group = shape.heads / shape.kv_heads;
  // Tasks of a job start at multiples of `step` positions, so that none crosses a block.
  const auto tiles_of = [&](const AttentionJob& j) {
    return j.rows == 0 ? 0 : (j.first + j.rows - 1) / step - j.first / step + 1;
  };
  std::size_t tasks = 0;
  for (std::size_t i = 0; i < jobs; ++i) {
    check_attention(shape, job[i].cache);
    assert(job[i].first + job[i].rows <= job[i].cache.capacity);
    tasks += tiles_of(job[i]) * shape.kv_heads;
  }
#if defined(__x86_64__)
  const auto run = !holds_pairs(shape)         ? LOWBIT_PICK(float_attention)
                   : bf16_unit_in_use() ? &N_AVX3::bf16_attention
                                         : LOWBIT_PICK(pair_attention);
#else
  const auto run = holds_pairs(shape) ? &scalar::pair_attention : &scalar::float_attention;
#endif
  executor.parallel_for(tasks, [&](std::size_t index) {
    std::size_t which = 0;
    for (; index >= tiles_of(job[which]) * shape.kv_heads; ++which) index -= tiles_of(job[which]) * shape.kv_heads;
    const AttentionJob& j = job[which];
    // Late positions see the most keys: they go first, so that no long task is left for the end.
    const std::size_t tile = j.first / step + tiles_of(j) - 1 - index / shape.kv_heads, head = index % shape.kv_heads;
    const std::size_t begin = std::max(tile * step, j.first), end = std::min((tile + 1) * step, j.first + j.rows);
    const std::size_t row = begin - j.first, column = head * group * shape.head_dim;
    AttentionTask task{};
    task.position = begin;
    task.count = end - begin;
    task.group = group;
    task.head_dim = shape.head_dim;
    task.cache = head_cache(shape, j.cache, head);
    task.q = j.q + row * q_stride + column;
    task.out = j.out + row * out_stride + column;
    task.q_stride = q_stride;
    task.out_stride = out_stride;
    task.log_sum = j.log_sum ? j.log_sum + head * group * j.rows + row : nullptr;
    task.log_sum_stride = j.rows;
    run(task);
  });
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
