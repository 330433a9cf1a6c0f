// Rotating, coding and decoding one row, in terms of blocks of 16 floats: order (b) of docs/reference/arithmetic.md
// sums element i into lane i % 16, so a block is what every vector width works in. Included once by each
// code_rows_ISA.cpp, inside its own anonymous namespace and target, after the block F16 and its operations:
//   load, load_first(p, n), store, store_first(p, v, n), zero, set1, add, sub, mul, fma, butterfly<1|2|4|8>, sum_tree,
//   from_bytes(p), keep(v, bits), mask_of(v, threshold), count_above(count, v, edge), largest_of(a, b), size_of(v),
//   largest_lane(v), CodeSum, store_codes.
// No template of the standard library may be used here: its code would be compiled for this instruction set and could
// be linked into callers that run on any processor.

// Sources and sinks of a sweep over a row. `part` is for the last n < 16 elements.
struct FromFloats {
  const float* x;
  F16 whole(std::size_t i) const { return load(x + i); }
  F16 part(std::size_t i, std::size_t n) const { return load_first(x + i, n); }
};

struct FromMaskedFloats {
  const float* x;
  const std::uint64_t* mask;
  unsigned bits(std::size_t i) const { return static_cast<unsigned>(mask[i / 64] >> (i % 64)) & 0xFFFFu; }
  F16 whole(std::size_t i) const { return keep(load(x + i), bits(i)); }
  F16 part(std::size_t i, std::size_t n) const { return keep(load_first(x + i, n), bits(i)); }
};

// float(o) * h. o = multiplier * u + addend is a small integer, so the fma that forms it is exact.
struct FromCodes {
  const std::uint8_t* codes;
  F16 multiplier, addend, scale;
  F16 whole(std::size_t i) const { return mul(fma(from_bytes(codes + i), multiplier, addend), scale); }
  F16 part(std::size_t i, std::size_t) const { return whole(i); }  // rows of codes are padded to 64
};

struct ToFloats {
  float* y;
  void whole(std::size_t i, F16 v) { store(y + i, v); }
  void part(std::size_t i, F16 v, std::size_t n) { store_first(y + i, v, n); }
};

// Scratch has room for whole blocks; lanes past the row's end are zeros and add nothing to the sums.
struct ToScratchAndSquares {
  float* y;
  F16 squares;
  void whole(std::size_t i, F16 v) {
    store(y + i, v);
    squares = fma(v, v, squares);
  }
  void part(std::size_t i, F16 v, std::size_t) { whole(i, v); }
};

struct ToSquares {
  F16 squares;
  void whole(std::size_t, F16 v) { squares = fma(v, v, squares); }
  void part(std::size_t, F16 v, std::size_t) { squares = fma(v, v, squares); }
};

// Stages 1 to 8, those that the group has, within a block.
template <int Group>
LOWBIT_INLINE F16 stages_within(F16 v) {
  if constexpr (Group > 1) v = butterfly<1>(v);
  if constexpr (Group > 2) v = butterfly<2>(v);
  if constexpr (Group > 4) v = butterfly<4>(v);
  if constexpr (Group > 8) v = butterfly<8>(v);
  return v;
}

template <int Group, class Source, class Sink>
LOWBIT_INLINE void sweep(std::size_t k, float hadamard_scale, const Source& source, Sink& sink) {
  const F16 scale = set1(hadamard_scale);
  if constexpr (Group <= 16) {
    std::size_t i = 0;
    for (; i + 16 <= k; i += 16) {
      const F16 v = stages_within<Group>(source.whole(i));
      sink.whole(i, Group == 1 ? v : mul(v, scale));
    }
    if (i < k) {
      const F16 v = stages_within<Group>(source.part(i, k - i));
      sink.part(i, Group == 1 ? v : mul(v, scale), k - i);
    }
  } else {
    constexpr int kBlocks = Group / 16;
    for (std::size_t base = 0; base < k; base += Group) {
      F16 v[kBlocks];
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) v[b] = stages_within<Group>(source.whole(base + 16 * b));
#pragma GCC unroll 3
      for (int stage = 1; stage < kBlocks; stage *= 2) {
#pragma GCC unroll 8
        for (int b = 0; b < kBlocks; ++b) {
          if (b & stage) continue;
          const F16 low = v[b], high = v[b + stage];
          v[b] = add(low, high);
          v[b + stage] = sub(low, high);
        }
      }
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) sink.whole(base + 16 * b, mul(v[b], scale));
    }
  }
}

template <class Source, class Sink>
LOWBIT_INLINE void sweep_rotated(Rotation rotation, std::size_t k, const Source& source, Sink& sink) {
  switch (rotation.group) {
    case 1:
      return sweep<1>(k, rotation.scale, source, sink);
    case 2:
      return sweep<2>(k, rotation.scale, source, sink);
    case 4:
      return sweep<4>(k, rotation.scale, source, sink);
    case 8:
      return sweep<8>(k, rotation.scale, source, sink);
    case 16:
      return sweep<16>(k, rotation.scale, source, sink);
    case 32:
      return sweep<32>(k, rotation.scale, source, sink);
    case 64:
      return sweep<64>(k, rotation.scale, source, sink);
    default:
      return sweep<128>(k, rotation.scale, source, sink);
  }
}

// How cells are found: steps of one size without or with a level at zero, E2M1, a table's edges.
enum class CellKind { rise, tread, e2m1, table };

// The limits are integers, so clamp, then floor, is the reference's floor, then clamp. A NaN becomes the lowest.
template <CellKind Kind, bool WithMask>
LOWBIT_INLINE void code_sweep(const float* x, const CodeRowJob& job, const RowScales& s, const float* edges) {
  const F16 cells = set1(s.cells), threshold = set1(s.threshold), hole_begin = set1(s.hole_begin),
            hole_end = set1(s.hole_end);
  constexpr bool kE2m1 = Kind == CellKind::e2m1;
  const int lo = kE2m1 ? kE2m1Lowest : job.grid->lowest(), hi = kE2m1 ? kE2m1Highest : job.grid->highest();
  const F16 lowest = set1(static_cast<float>(lo)), highest = set1(static_cast<float>(hi));
  const F16 half = set1(0.5f);
  CodeSum sum = no_codes();
  for (std::size_t i = 0; i < job.k; i += 64) {
    const std::size_t count = job.k - i < 64 ? job.k - i : 64;
    F16 cell[4];
    std::uint64_t mask = 0;
#pragma GCC unroll 4
    for (std::size_t b = 0; b < 4; ++b) {
      const std::size_t left = count > 16 * b ? count - 16 * b : 0;
      const F16 v = left >= 16 ? load(x + i + 16 * b) : left > 0 ? load_first(x + i + 16 * b, left) : zero();
      if constexpr (WithMask) {
        unsigned bits = mask_of(v, threshold);
        if constexpr (kE2m1) bits &= mask_of(v, hole_begin) | ~mask_of(v, hole_end);
        mask |= static_cast<std::uint64_t>(bits) << (16 * b);
      }
      F16 scaled = mul(v, cells);
      if constexpr (Kind == CellKind::tread) scaled = add(scaled, half);
      if constexpr (Kind == CellKind::table) {
        cell[b] = zero();
        for (int e = 0; e + 1 < job.grid->levels; ++e) cell[b] = count_above(cell[b], scaled, set1(edges[e]));
      } else {
        cell[b] = at_most(at_least(scaled, lowest), highest);
      }
    }
    store_codes<kE2m1>(cell, Kind == CellKind::table ? 0 : -lo, count, job.codes + i, sum);
    if constexpr (WithMask) job.mask[i / 64] = count == 64 ? mask : mask & ((std::uint64_t{1} << count) - 1);
  }
  *job.sum = total(sum);
}

template <CellKind Kind>
LOWBIT_INLINE void code_sweep(const float* x, const CodeRowJob& job, const RowScales& s, const float* edges) {
  job.mask ? code_sweep<Kind, true>(x, job, s, edges) : code_sweep<Kind, false>(x, job, s, edges);
}

LOWBIT_INLINE float largest_magnitude(const float* x, std::size_t k) {
  F16 largest = zero();
  std::size_t i = 0;
  for (; i + 16 <= k; i += 16) largest = largest_of(size_of(load(x + i)), largest);
  if (i < k) largest = largest_of(size_of(load_first(x + i, k - i)), largest);
  return largest_lane(largest);
}

void code_row(const CodeRowJob& job) {
  const FromFloats source{job.x};
  F16 squares;
  const float* x = job.x;
  if (job.rotation.group == 1) {
    ToSquares sink{zero()};
    sweep<1>(job.k, 1, source, sink);
    squares = sink.squares;
  } else {
    ToScratchAndSquares sink{job.rotated, zero()};
    sweep_rotated(job.rotation, job.k, source, sink);
    squares = sink.squares;
    x = job.rotated;
  }
  const float largest = job.rule == ScaleRule::absmax ? largest_magnitude(x, job.k) : 0;
  const RowScales s = row_scales(job, sum_tree(squares), largest);
  *job.scale = s.scale;
  if (job.grid->cells == Cells::table) {
    float edges[256];
    table_edges(*job.grid, edges);
    code_sweep<CellKind::table>(x, job, s, edges);
  } else if (job.grid->cells == Cells::e2m1) {
    code_sweep<CellKind::e2m1>(x, job, s, nullptr);
  } else if (job.grid->zero_is_level) {
    code_sweep<CellKind::tread>(x, job, s, nullptr);
  } else {
    code_sweep<CellKind::rise>(x, job, s, nullptr);
  }
}

void decode_row(const DecodeRowJob& job) {
  const FromCodes source{job.codes, set1(static_cast<float>(job.grid->multiplier())),
                         set1(static_cast<float>(job.grid->value_of_code(0))), set1(job.scale)};
  ToFloats sink{job.y};
  sweep_rotated(job.rotation, job.k, source, sink);
}

void rotate_row(Rotation rotation, std::size_t k, const float* x, const std::uint64_t* mask, float* y) {
  ToFloats sink{y};
  if (mask)
    sweep_rotated(rotation, k, FromMaskedFloats{x, mask}, sink);
  else
    sweep_rotated(rotation, k, FromFloats{x}, sink);
}
