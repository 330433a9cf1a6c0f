// Taking codes out of PackedPanels, for any vector type. Included by each instruction set's file, within its namespace
// and target; Lanes gives: V, load(p), shift_right<n>(v) of 16-bit words (left where n < 0), masked(v, mask byte), and
// merged(a, v, mask byte): a | (v & mask).

// The field of quad q as it lies in its vector, brought to its place in the code, neighbours and all.
template <class Lanes, int Bits, int Field, int Q>
LOWBIT_INLINE typename Lanes::V placed_field(const std::uint8_t* block) {
  constexpr CodeFields kFields = code_fields(Bits);
  constexpr int kWide = kFields.bits[Field], kInVector = 8 / kWide;
  return Lanes::template shift_right<kWide*(Q % kInVector) - kFields.low[Field]>(
      Lanes::load(block + (kFields.vector[Field] + Q / kInVector) * 64));
}

// Mask of the field in the code's byte.
template <int Bits, int Field>
constexpr int placed_mask() {
  return ((1 << code_fields(Bits).bits[Field]) - 1) << code_fields(Bits).low[Field];
}

// Codes u of quad q of a block (of half the outputs, where a vector is 32 bytes: add 32 to block for the others).
template <class Lanes, int Bits, int Q>
LOWBIT_INLINE typename Lanes::V quad_of(const std::uint8_t* block) {
  if constexpr (Bits == 8) {
    return Lanes::load(block + 64 * Q);
  } else {
    constexpr int kCount = code_fields(Bits).count;
    typename Lanes::V u = Lanes::template masked<placed_mask<Bits, 0>()>(placed_field<Lanes, Bits, 0, Q>(block));
    if constexpr (kCount > 1)
      u = Lanes::template merged<placed_mask<Bits, 1>()>(u, placed_field<Lanes, Bits, 1, Q>(block));
    if constexpr (kCount > 2)
      u = Lanes::template merged<placed_mask<Bits, 2>()>(u, placed_field<Lanes, Bits, 2, Q>(block));
    return u;
  }
}
