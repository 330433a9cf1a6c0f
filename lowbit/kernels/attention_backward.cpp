#include <algorithm>
#include <cassert>

#include "lowbit/base/aligned.h"
#include "lowbit/base/math.h"
#include "lowbit/kernels/backward_form.h"
#include "lowbit/kernels/backward_tiles.h"

// One task takes one key-value head of one sequence. Every operand of the five products is packed once per head, for
// the whole sequence; a tile is kQueries queries by kKeys keys, and tiles that the causal mask empties are not visited.
namespace lowbit::kernels {
namespace {

constexpr std::size_t kQueries = 48;  // whole panels of A for every form
constexpr std::size_t kKeys = 96;     // a multiple of kQueries, so that tiles of queries begin where those of keys do
constexpr std::size_t kKeyStep = 32;  // whole panels of B for every form
static_assert(kKeys % kQueries == 0 && kKeys % kKeyStep == 0);

/// Panels of a matrix [rows, d] of one head: as an operand with rows free (a block of rows is some panels), or with
/// rows contracted (a block of rows is an operand of its own).
struct HeadPanels {
  const BackwardForm& form;
  std::size_t width, d;
  Word* words = nullptr;

  std::size_t free_stride() const { return BackwardForm::panel_words(form.words(d), width); }
  std::size_t free_words(std::size_t rows) const { return ceil_div(rows, width) * free_stride(); }
  /// Rows from `rows` to `padded` are zero.
  void pack_free(const float* x, std::size_t stride, std::size_t rows, std::size_t padded) const {
    form.pack({x, nullptr, 0, 0, stride, false, nullptr}, {0, d, 0, padded, rows}, width, words, free_stride());
  }
  const Word* free_block(std::size_t row) const { return words + row / width * free_stride(); }

  std::size_t contracted_stride(std::size_t block) const { return BackwardForm::panel_words(form.words(block), width); }
  std::size_t contracted_block(std::size_t block) const { return ceil_div(d, width) * contracted_stride(block); }
  void pack_contracted(const float* x, std::size_t stride, std::size_t rows, std::size_t block) const {
    for (std::size_t i = 0; i < rows; i += block)
      form.pack({x, nullptr, 0, 0, stride, true, nullptr}, {i, std::min(block, rows - i), 0, d, d}, width,
                words + i / block * contracted_block(block), contracted_stride(block));
  }
};

/// Memory of one task, cut off piece by piece; each piece begins on a cache line. From nullptr it only counts.
class Arena {
 public:
  explicit Arena(Word* memory) : memory_(memory) {}
  Word* words(std::size_t n) {
    Word* const at = memory_ ? memory_ + used_ : nullptr;
    used_ += (n + 15) / 16 * 16;
    return at;
  }
  float* floats(std::size_t n) { return reinterpret_cast<float*>(words(n)); }
  std::size_t used() const { return used_; }

 private:
  Word* memory_;
  std::size_t used_ = 0;
};

struct Head {
  const BackwardForm& form;
  const BackwardForm& score_form;  ///< for the scores
  const BackwardForm& slope_form;  ///< for dp, their gradients before the softmax
  std::size_t rows, d;
  std::size_t width;  ///< d in whole panels: the gradients' rows, until they are copied to where they belong
  HeadPanels k_free, v_free, k_contracted, q_free, dout_free, q_contracted, dout_contracted;
  Word *p = nullptr, *ds = nullptr, *ds_turned = nullptr;
  float *score = nullptr, *dp = nullptr, *delta = nullptr;
  float *dq = nullptr, *dk = nullptr, *dv = nullptr;  ///< [rows, width], [kKeys, width] twice

  Head(const BackwardForm& f, const BackwardForm& for_score, const BackwardForm& for_slope, std::size_t n,
       std::size_t head_dim)
      : form(f),
        score_form(for_score),
        slope_form(for_slope),
        rows(n),
        d(head_dim),
        width(ceil_div(d, f.tile_columns) * f.tile_columns),
        k_free{for_score, for_score.tile_columns, d},
        v_free{for_slope, for_slope.tile_columns, d},
        k_contracted{f, f.tile_columns, d},
        q_free{for_score, for_score.tile_rows, d},
        dout_free{for_slope, for_slope.tile_rows, d},
        q_contracted{k_contracted},
        dout_contracted{k_contracted} {
    for ([[maybe_unused]] const BackwardForm* one : {&form, &score_form, &slope_form})
      assert(kQueries % one->tile_rows == 0 && kKeyStep % one->tile_columns == 0);
  }

  /// Keys are computed in whole panels: what is behind the last row is zero.
  std::size_t padded_keys() const { return ceil_div(rows, kKeys) * kKeys; }
  std::size_t keys_stride() const { return BackwardForm::panel_words(form.words(kQueries), form.tile_rows); }
  std::size_t queries_stride() const { return BackwardForm::panel_words(form.words(kKeys), form.tile_rows); }

  void place(Arena& arena) {
    for (HeadPanels* x : {&k_free, &v_free}) x->words = arena.words(x->free_words(padded_keys()));
    for (HeadPanels* x : {&q_free, &dout_free}) x->words = arena.words(x->free_words(rows));
    k_contracted.words = arena.words(ceil_div(rows, kKeys) * k_contracted.contracted_block(kKeys));
    for (HeadPanels* x : {&q_contracted, &dout_contracted})
      x->words = arena.words(ceil_div(rows, kQueries) * x->contracted_block(kQueries));
    for (Word** x : {&p, &ds}) *x = arena.words(ceil_div(kKeys, form.tile_rows) * keys_stride());
    ds_turned = arena.words(kQueries / form.tile_rows * queries_stride());
    score = arena.floats(kQueries * kKeys);
    dp = arena.floats(kQueries * kKeys);
    delta = arena.floats(rows);
    dq = arena.floats(rows * width);
    dk = arena.floats(kKeys * width);
    dv = arena.floats(kKeys * width);
  }

  /// Queries from i on, keys from j on. Adds to dk and dv; writes dq where j = 0, else adds to it.
  void tile(std::size_t i, std::size_t j, float scale, const float* log_sum) const {
    const std::size_t queries = std::min(kQueries, rows - i);
    // On the diagonal the last query sees only some of the keys.
    const std::size_t span = std::min(kKeys, ceil_div(i + queries - j, kKeyStep) * kKeyStep);
    const std::size_t keys = std::min(span, rows - j);
    score_form.product(score_form.words(d), queries, span, q_free.free_block(i), q_free.free_stride(),
                       k_free.free_block(j), k_free.free_stride(), score, kKeys, true);
    slope_form.product(slope_form.words(d), queries, span, dout_free.free_block(i), dout_free.free_stride(),
                       v_free.free_block(j), v_free.free_stride(), dp, kKeys, true);
    form.attention_tile(queries, span, kKeys, i - j, scale, log_sum + i, delta + i, score, dp);
    const PackRange by_query{0, queries, 0, keys, span}, by_key{0, keys, 0, queries, queries};
    form.pack({score, nullptr, 0, 0, kKeys, true, nullptr}, by_query, form.tile_rows, p, keys_stride());
    form.pack({dp, nullptr, 0, 0, kKeys, true, nullptr}, by_query, form.tile_rows, ds, keys_stride());
    form.pack({dp, nullptr, 0, 0, kKeys, false, nullptr}, by_key, form.tile_rows, ds_turned, queries_stride());
    const std::size_t q_block = i / kQueries * q_contracted.contracted_block(kQueries);
    form.product(form.words(queries), keys, width, p, keys_stride(), dout_contracted.words + q_block,
                 dout_contracted.contracted_stride(kQueries), dv, width, false);
    form.product(form.words(queries), keys, width, ds, keys_stride(), q_contracted.words + q_block,
                 q_contracted.contracted_stride(kQueries), dk, width, false);
    form.product(form.words(keys), queries, width, ds_turned, queries_stride(),
                 k_contracted.words + j / kKeys * k_contracted.contracted_block(kKeys),
                 k_contracted.contracted_stride(kKeys), dq + i * width, width, j == 0);
  }

  /// Rows of a gradient to where they belong.
  void give(const float* from, std::size_t count, float* to, std::size_t stride, bool add) const {
    for (std::size_t r = 0; r < count; ++r, from += width, to += stride) {
      if (add)
        form.add(d, from, to);
      else
        std::copy_n(from, d, to);
    }
  }
};

}  // namespace

void attention_backward(Executor& executor, Precision precision, const AttentionShape& shape, std::size_t rows,
                        std::size_t jobs, const AttentionBackwardJob* job, std::size_t q_stride, std::size_t kv_stride,
                        std::size_t out_stride) {
  assert(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0);
  if (rows == 0) return;
  const BackwardForm& form = backward_form(precision);
  // The scores must be those of the forward, whose log_sum they meet. Where it was float32 the dp are too: with
  // bfloat16 in both, dq and dk would be off by 5e-3 in norm; so they are by less than 3e-3, and 2 products of 5 run at
  // half the speed.
  const Precision forward = shape.format == AttentionFormat::bf16 ? Precision::bf16 : Precision::f32;
  const BackwardForm& score_form = backward_form(forward);
  const BackwardForm& slope_form = backward_form(precision == Precision::f32 ? precision : forward);
  const std::size_t group = shape.heads / shape.kv_heads, d = shape.head_dim;
  const float scale = static_cast<float>(1.0 / math::sqrt(static_cast<double>(d)));
  executor.parallel_for(jobs * shape.kv_heads, [&](std::size_t task) {
    static thread_local Buffer<Word> memory;
    const AttentionBackwardJob& x = job[task / shape.kv_heads];
    const std::size_t kv_head = task % shape.kv_heads;
    Head head(form, score_form, slope_form, rows, d);
    Arena measure(nullptr);
    head.place(measure);
    memory.resize(measure.used());
    Arena arena(memory.data());
    head.place(arena);

    // Panels with rows contracted first: they read along the rows, and leave them in the cache for the others.
    const float *k = x.k + kv_head * d, *v = x.v + kv_head * d;
    head.k_contracted.pack_contracted(k, kv_stride, rows, kKeys);
    head.k_free.pack_free(k, kv_stride, rows, head.padded_keys());
    head.v_free.pack_free(v, kv_stride, rows, head.padded_keys());
    for (std::size_t g = 0; g < group; ++g) {
      const std::size_t h = kv_head * group + g;
      const float *q = x.q + h * d, *out = x.out + h * d, *dout = x.dout + h * d;
      head.q_contracted.pack_contracted(q, q_stride, rows, kQueries);
      head.q_free.pack_free(q, q_stride, rows, rows);
      head.dout_contracted.pack_contracted(dout, out_stride, rows, kQueries);
      head.dout_free.pack_free(dout, out_stride, rows, rows);
      form.dot_rows(rows, d, dout, out, out_stride, head.delta);
      for (std::size_t j = 0; j < rows; j += kKeys) {
        const std::size_t keys = std::min(kKeys, rows - j), at = j * kv_stride + kv_head * d;
        std::fill_n(head.dk, keys * head.width, 0.0f);
        std::fill_n(head.dv, keys * head.width, 0.0f);
        for (std::size_t i = j; i < rows; i += kQueries) head.tile(i, j, scale, x.log_sum + h * rows);
        head.give(head.dk, keys, x.dk + at, kv_stride, g > 0);
        head.give(head.dv, keys, x.dv + at, kv_stride, g > 0);
      }
      head.give(head.dq, rows, x.dq + h * d, q_stride, false);
    }
  });
}

}  // namespace lowbit::kernels
