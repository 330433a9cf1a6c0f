#pragma once
#include <string>
#include <string_view>

namespace lowbit {

/// The instruction sets that kernels are written for. All give the same bits (docs/reference/arithmetic.md); they
/// differ in speed.
enum class Isa {
  scalar,  ///< the plain reference form of every kernel
  avx2,    ///< AVX2, FMA, BMI2
  avx512,  ///< AVX-512 F BW DQ VL VBMI with VNNI; BF16 instructions where the processor has them
};

/// What CPUID and the operating system allow.
struct CpuFeatures {
  bool avx2 = false;         ///< with FMA
  bool avx512 = false;       ///< F BW DQ VL VNNI
  bool avx512_bf16 = false;
  bool avx512_vpopcntdq = false;  ///< counts of bits in dwords; with VBMI
  std::string name;          ///< the processor's brand string
};
const CpuFeatures& cpu_features();

bool isa_supported(Isa isa);
std::string_view isa_name(Isa isa);
/// throws Error(usage) for a name that is not scalar, avx2 or avx512.
Isa isa_by_name(std::string_view name);

/// The one in use: forced by force_isa, else by the environment's LOWBIT_ISA, else the best supported.
/// throws Error(usage) when LOWBIT_ISA names one that is unknown or that this processor lacks.
Isa active_isa();
/// throws Error(usage) when this processor lacks it. Call it before other threads compute.
void force_isa(Isa isa);

}  // namespace lowbit
