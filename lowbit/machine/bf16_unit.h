#pragma once
#include <optional>

namespace lowbit {

/// Which of two ways does the bfloat16 products under AVX-512: the processor's unit (vdpbf16ps), or two fma on operands
/// widened to float32, which is the definition (docs/reference/arithmetic.md, order (c)). In the forward pass their
/// bits are equal; in the backward pass, which promises none, they are not.
enum class Bf16Unit {
  measured,  ///< whichever does more operations per second here
  on,        ///< the unit, where the processor has one
  off,       ///< fma
};

/// The rule of `measured`: the unit is used when its loop does more operations per second than that of fma.
constexpr bool bf16_unit_pays(double unit_rate, double fma_rate) { return unit_rate > fma_rate; }

/// Whether vdpbf16ps is used now: AVX-512 is in use, the processor has the unit, and the choice or the measurement is
/// for it. The measurement takes about two milliseconds of the calling thread, once a process.
bool bf16_unit_in_use();

/// What decides from here on. Tests use it; a user sets LOWBIT_BF16_UNIT=on or off.
void choose_bf16_unit(Bf16Unit unit);
/// The value of LOWBIT_BF16_UNIT: measured, on or off. throws Error(usage): another word.
Bf16Unit parse_bf16_unit(const char* word);

}  // namespace lowbit
