#pragma once

namespace lowbit::kernels {

/// Whether products of order (c) use AVX512-BF16 (vdpbf16ps) now: where the processor has it and avx512 is in use.
bool bf16_instructions();
/// For tests: false makes avx512 imitate it by two fmas, as on a processor without it. Same bits.
void allow_bf16_instructions(bool allowed);

}  // namespace lowbit::kernels
