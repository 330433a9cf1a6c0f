// The arithmetic of a BackwardForm, written once over a class of lanes (a vector of floats and what can be done with
// it) and compiled per instruction set. Included after `#pragma GCC target`, so this file includes nothing, and
// everything is in the unnamed namespace: no function compiled here may serve another instruction set.
//
// Lanes has: V; kLanes; kTileRows, kTileVectors; zero, set, load, load_part, store, store_part, add, sub, mul, fma
// (a * b + c), divide, sum, exp, codes, codes_part (bytes to floats), first (lanes from count on become 0), round (to
// bfloat16 values), transpose (kLanes vectors in place), prefetch, stream (a store past the caches to an aligned place)
// and fence (behind the last of them); broadcast_word and dot for the inner product, and for pairs: join (two vectors
// to pairs lane by lane) and join_neighbours (2 kLanes floats in a row to pairs).
namespace {

#define LOWBIT_INLINE inline __attribute__((always_inline))

enum class WordKind { f32, rounded, pairs };

template <class L, WordKind kKind>
struct Form {
  using V = typename L::V;
  static constexpr std::size_t kLanes = L::kLanes;
  static constexpr std::size_t kPair = kKind == WordKind::pairs ? 2 : 1;
  static constexpr std::size_t kRows = L::kTileRows;
  static constexpr std::size_t kVectors = L::kTileVectors;
  static constexpr std::size_t kColumns = kVectors * kLanes;

  // ---- Packing ----

  /// kLanes values from memory position `at`, those from `count` on 0.
  template <bool kCodes>
  static LOWBIT_INLINE V read(const PackSource& s, std::size_t at, std::size_t count) {
    if constexpr (kCodes) {
      const V code = count >= kLanes ? L::codes(s.codes + at) : L::codes_part(s.codes + at, count);
      const V value = L::fma(code, L::set(s.code_factor), L::set(s.code_offset));
      return count >= kLanes ? value : L::first(value, count);
    } else {
      return count >= kLanes ? L::load(s.values + at) : L::load_part(s.values + at, count);
    }
  }

  static constexpr std::size_t kAhead = 8;  // rows

  static LOWBIT_INLINE std::size_t left(std::size_t end, std::size_t at) { return end > at ? end - at : 0; }

  /// Stored rows run along the free index: a Word joins one value from each of two rows. The processor does not foresee
  /// the jump to the next row, so the lines of a later one are asked for.
  template <bool kCodes, bool kScaled>
  static void pack_along(const PackSource& s, const PackRange& range, std::size_t width, Word* panels,
                         std::size_t panel_stride) {
    const std::size_t count = (range.i_count + width - 1) / width;
    const std::size_t words = (range.k_count + kPair - 1) / kPair;
    for (std::size_t w = 0; w < words; ++w) {
      const std::size_t k = range.k_begin + w * kPair;
      const bool whole = kPair == 1 || w * kPair + 1 < range.k_count;
      V scale0 = L::zero(), scale1 = L::zero();
      if constexpr (kScaled) {
        scale0 = L::set(s.scale[k]);
        scale1 = whole ? L::set(s.scale[k + kPair - 1]) : scale1;
      }
      for (std::size_t p = 0; p < count; ++p)
        for (std::size_t v = 0; v < width; v += kLanes) {
          const std::size_t i = range.i_begin + p * width + v, n = left(range.i_end, i);
          if constexpr (!kCodes) {
            L::prefetch(s.values + (k + kAhead) * s.stride + i);
            if (kPair == 2) L::prefetch(s.values + (k + kAhead + 1) * s.stride + i);
          }
          V x = n ? read<kCodes>(s, k * s.stride + i, n) : L::zero();
          if constexpr (kScaled) x = L::mul(x, scale0);
          Word* const to = panels + p * panel_stride + w * width + v;
          if constexpr (kKind == WordKind::pairs) {
            V y = n && whole ? read<kCodes>(s, (k + 1) * s.stride + i, n) : L::zero();
            if constexpr (kScaled) y = L::mul(y, scale1);
            L::store(to, L::join(x, y));
          } else {
            L::store(to, kKind == WordKind::rounded ? L::round(x) : x);
          }
        }
    }
  }

  /// Stored rows run along the contracted index: kLanes rows by kLanes Words are transposed in registers.
  template <bool kCodes, bool kScaled>
  static void pack_across(const PackSource& s, const PackRange& range, std::size_t width, Word* panels,
                          std::size_t panel_stride) {
    const std::size_t count = (range.i_count + width - 1) / width;
    const std::size_t words = (range.k_count + kPair - 1) / kPair;
    const std::size_t k_end = range.k_begin + range.k_count;
    for (std::size_t p = 0; p < count; ++p)
      for (std::size_t w = 0; w < words; w += kLanes) {
        const std::size_t k = range.k_begin + w * kPair, n = k_end - k;
        const std::size_t n1 = kPair == 2 ? left(n, kLanes) : 0;  // for the second vector of a vector of pairs
        V scale0 = L::zero(), scale1 = L::zero();
        if constexpr (kScaled) {
          scale0 = L::load_part(s.scale + k, n);
          if (n1) scale1 = L::load_part(s.scale + k + kLanes, n1);
        }
        const std::size_t steps = words - w < kLanes ? words - w : kLanes;
        for (std::size_t v = 0; v < width; v += kLanes) {
          V rows[kLanes];
          for (std::size_t r = 0; r < kLanes; ++r) {
            const std::size_t i = range.i_begin + p * width + v + r;
            if (v + r >= width || i >= range.i_end) {
              rows[r] = L::zero();
              continue;
            }
            if constexpr (!kCodes) {
              L::prefetch(s.values + (i + width) * s.stride + k);
              if (kPair == 2) L::prefetch(s.values + (i + width) * s.stride + k + kLanes);
            }
            V x = read<kCodes>(s, i * s.stride + k, n);
            if constexpr (kScaled) x = L::mul(x, scale0);
            if constexpr (kKind == WordKind::pairs) {
              V y = n1 ? read<kCodes>(s, i * s.stride + k + kLanes, n1) : L::zero();
              if constexpr (kScaled) y = L::mul(y, scale1);
              rows[r] = L::join_neighbours(x, y);
            } else {
              rows[r] = kKind == WordKind::rounded ? L::round(x) : x;
            }
          }
          L::transpose(rows);
          Word* const to = panels + p * panel_stride + w * width + v;
          for (std::size_t t = 0; t < steps; ++t) L::store(to + t * width, rows[t]);
        }
      }
  }

  template <bool kCodes, bool kScaled>
  static void pack_as(const PackSource& s, const PackRange& range, std::size_t width, Word* panels,
                      std::size_t panel_stride) {
    if (s.along)
      pack_along<kCodes, kScaled>(s, range, width, panels, panel_stride);
    else
      pack_across<kCodes, kScaled>(s, range, width, panels, panel_stride);
  }

  static void pack(const PackSource& s, const PackRange& range, std::size_t width, Word* panels,
                   std::size_t panel_stride) {
    if (s.codes)
      return s.scale ? pack_as<true, true>(s, range, width, panels, panel_stride)
                     : pack_as<true, false>(s, range, width, panels, panel_stride);
    return s.scale ? pack_as<false, true>(s, range, width, panels, panel_stride)
                   : pack_as<false, false>(s, range, width, panels, panel_stride);
  }

  // ---- The product ----

  /// kTile rows by kColumns columns, all sums in registers.
  template <std::size_t kTile>
  static void tile(std::size_t words, const Word* a, const Word* b, float* c, std::size_t stride, bool overwrite) {
    V acc[kTile][kVectors];
    const float* ahead = c;
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kTile; ++r, ahead += stride) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) {
        L::prefetch(ahead + v * kLanes);
        acc[r][v] = L::zero();
      }
    }
    for (std::size_t w = 0; w < words; ++w) {
      V column[kVectors];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) column[v] = L::load(b + v * kLanes);
#pragma GCC unroll 16
      for (std::size_t r = 0; r < kTile; ++r) {
        const V row = L::broadcast_word(a + r);
#pragma GCC unroll 4
        for (std::size_t v = 0; v < kVectors; ++v) acc[r][v] = L::dot(acc[r][v], row, column[v]);
      }
      a += kRows;
      b += kColumns;
    }
    if (!overwrite) {
      const float* from = c;
#pragma GCC unroll 16
      for (std::size_t r = 0; r < kTile; ++r, from += stride)
#pragma GCC unroll 4
        for (std::size_t v = 0; v < kVectors; ++v) acc[r][v] = L::add(L::load(from + v * kLanes), acc[r][v]);
    }
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kTile; ++r, c += stride)
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) L::store(c + v * kLanes, acc[r][v]);
  }

  using Tile = void (*)(std::size_t, const Word*, const Word*, float*, std::size_t, bool);
  template <std::size_t kTile>
  static Tile tile_of(std::size_t rows) {
    if constexpr (kTile == 1)
      return &tile<1>;
    else
      return rows == kTile ? &tile<kTile> : tile_of<kTile - 1>(rows);
  }

  static void product(std::size_t words, std::size_t m, std::size_t n, const Word* a, std::size_t a_panel_stride,
                      const Word* b, std::size_t b_panel_stride, float* c, std::size_t c_stride, bool overwrite) {
    const Tile last = m % kRows ? tile_of<kRows>(m % kRows) : &tile<kRows>;
    for (std::size_t j = 0; j < n; j += kColumns, b += b_panel_stride) {
      const Word* a_panel = a;
      for (std::size_t i = 0; i < m; i += kRows, a_panel += a_panel_stride) {
        const std::size_t rows = m - i < kRows ? m - i : kRows;
        const Tile run = rows == kRows ? &tile<kRows> : last;
        float* const to = c + i * c_stride + j;
        if (n - j >= kColumns) {
          run(words, a_panel, b, to, c_stride, overwrite);
          continue;
        }
        float edge[kRows * kColumns];
        run(words, a_panel, b, edge, kColumns, true);
        for (std::size_t r = 0; r < rows; ++r)
          for (std::size_t v = 0; v < n - j; v += kLanes) {
            const std::size_t count = n - j - v < kLanes ? n - j - v : kLanes;
            const V sum = L::load(edge + r * kColumns + v);
            float* const place = to + r * c_stride + v;
            L::store_part(place, overwrite ? sum : L::add(L::load_part(place, count), sum), count);
          }
      }
    }
  }

  // ---- Attention ----

  static void attention_tile(std::size_t rows, std::size_t columns, std::size_t stride, std::size_t visible,
                             float scale, const float* log_sum, const float* delta, float* score, float* dp) {
    const V factor = L::set(scale);
    for (std::size_t r = 0; r < rows; ++r) {
      const V shift = L::set(-log_sum[r]), mean = L::set(delta[r]);
      for (std::size_t j = 0; j < columns; j += kLanes) {
        float* const s = score + r * stride + j;
        float* const g = dp + r * stride + j;
        const std::size_t seen = left(visible + r + 1, j);
        V p = L::exp(L::fma(L::load(s), factor, shift));
        if (seen < kLanes) p = L::first(p, seen);
        L::store(s, p);
        L::store(g, L::mul(L::mul(p, factor), L::sub(L::load(g), mean)));
      }
    }
  }

  // ---- Rows ----

  static void dot_rows(std::size_t rows, std::size_t n, const float* a, const float* b, std::size_t stride,
                       float* sums) {
    for (std::size_t r = 0; r < rows; ++r, a += stride, b += stride) {
      V sum[2] = {L::zero(), L::zero()};
      std::size_t i = 0;
      for (; i + 2 * kLanes <= n; i += 2 * kLanes)
#pragma GCC unroll 2
        for (std::size_t v = 0; v < 2; ++v) {
          const std::size_t at = i + v * kLanes;
          L::prefetch(b + at + kAhead * stride);
          sum[v] = L::fma(L::load(a + at), L::load(b + at), sum[v]);
        }
      for (; i < n; i += kLanes) sum[0] = L::fma(L::load_part(a + i, n - i), L::load_part(b + i, n - i), sum[0]);
      sums[r] = L::sum(L::add(sum[0], sum[1]));
    }
  }

  static void add(std::size_t n, const float* x, float* y) {
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) L::store(y + i, L::add(L::load(y + i), L::load(x + i)));
    if (i < n) L::store_part(y + i, L::add(L::load_part(y + i, n - i), L::load_part(x + i, n - i)), n - i);
  }

  static LOWBIT_INLINE V rms_norm_step(V x, V weight, V dy, V inv, V slope) {
    return L::mul(inv, L::sub(L::mul(weight, dy), L::mul(x, slope)));
  }

  static void rms_norm_rows(std::size_t rows, std::size_t k, const float* x, const float* weight, const float* inv,
                            const float* dy, const float* base, float* dx, float* dweight) {
    for (std::size_t r = 0; r < rows; ++r, x += k, dy += k, dx += k, base = base ? base + k : base) {
      V sum[2] = {L::zero(), L::zero()};
      std::size_t i = 0;
      for (; i + 2 * kLanes <= k; i += 2 * kLanes)
#pragma GCC unroll 2
        for (std::size_t v = 0; v < 2; ++v) {
          const std::size_t at = i + v * kLanes;
          sum[v] = L::fma(L::mul(L::load(weight + at), L::load(dy + at)), L::load(x + at), sum[v]);
        }
      for (; i < k; i += kLanes) {
        const std::size_t n = k - i;
        sum[0] = L::fma(L::mul(L::load_part(weight + i, n), L::load_part(dy + i, n)), L::load_part(x + i, n), sum[0]);
      }
      const float dot_product = L::sum(L::add(sum[0], sum[1]));
      const V scale = L::set(inv[r]), slope = L::set(dot_product / static_cast<float>(k) * inv[r] * inv[r]);
      for (i = 0; i + kLanes <= k; i += kLanes) {
        const V xi = L::load(x + i), gi = L::load(dy + i);
        L::store(dweight + i, L::fma(gi, L::mul(xi, scale), L::load(dweight + i)));
        const V d = rms_norm_step(xi, L::load(weight + i), gi, scale, slope);
        L::store(dx + i, base ? L::add(L::load(base + i), d) : d);
      }
      if (i < k) {
        const std::size_t n = k - i;
        const V xi = L::load_part(x + i, n), gi = L::load_part(dy + i, n);
        L::store_part(dweight + i, L::fma(gi, L::mul(xi, scale), L::load_part(dweight + i, n)), n);
        const V d = rms_norm_step(xi, L::load_part(weight + i, n), gi, scale, slope);
        L::store_part(dx + i, base ? L::add(L::load_part(base + i, n), d) : d, n);
      }
    }
  }

  static void swiglu_rows(std::size_t rows, std::size_t k, const float* gate, const float* up, std::size_t stride,
                          const float* dy, float* dgate, float* dup, std::size_t dstride, bool past_caches) {
    for (std::size_t r = 0; r < rows; ++r, gate += stride, up += stride, dy += k, dgate += dstride, dup += dstride)
      past_caches ? swiglu_row<true>(k, gate, up, dy, dgate, dup) : swiglu_row<false>(k, gate, up, dy, dgate, dup);
    if (past_caches) L::fence();
  }

  template <bool kStream>
  static void swiglu_row(std::size_t k, const float* gate, const float* up, const float* dy, float* dgate, float* dup) {
    const V one = L::set(1.0f);
    for (std::size_t i = 0; i < k; i += kLanes) {
      const std::size_t n = k - i;
      const bool whole = n >= kLanes;
      const V g = whole ? L::load(gate + i) : L::load_part(gate + i, n);
      const V u = whole ? L::load(up + i) : L::load_part(up + i, n);
      const V d = whole ? L::load(dy + i) : L::load_part(dy + i, n);
      const V s = L::divide(one, L::add(one, L::exp(L::sub(L::zero(), g))));
      const V slope = L::mul(s, L::fma(g, L::sub(one, s), one));
      const V to_gate = L::mul(L::mul(d, u), slope), to_up = L::mul(d, L::mul(g, s));
      if (whole && kStream) {
        L::stream(dgate + i, to_gate);
        L::stream(dup + i, to_up);
      } else if (whole) {
        L::store(dgate + i, to_gate);
        L::store(dup + i, to_up);
      } else {
        L::store_part(dgate + i, to_gate, n);
        L::store_part(dup + i, to_up, n);
      }
    }
  }

  static constexpr BackwardForm make(const char* name) {
    return {name,        kPair,     kRows, kColumns,          &pack, &product, &attention_tile, &rms_norm_rows,
            &swiglu_rows, &dot_rows, &add,  &L::sum_of_squares};
  }
};

}  // namespace
