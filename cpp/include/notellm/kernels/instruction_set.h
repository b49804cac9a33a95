#pragma once

#include <string>
#include <string_view>

namespace notellm {

/// Which of the hand-written CPU kernels run. Every set gives the same results up to rounding.
enum class InstructionSet {
  kNone,        ///< none: composed LibTorch operations, as on a GPU; slow, the reference
  kBaseline,    ///< vectors of the compiler's default target (SSE2 on x86-64)
  kAvx2,        ///< AVX2 and FMA
  kAvx512,      ///< AVX-512 F, BW, DQ and VL
  kAvx512Bf16,  ///< also bf16 instructions: conversions, and attention's products in bf16
};

/// The set in use: the one chosen by `set_instruction_set` or by the environment variable
/// NOTELLM_INSTRUCTION_SET (`none`, `baseline`, `avx2`, `avx512`, `avx512_bf16`), otherwise the
/// best one of this processor.
///
/// @throws std::invalid_argument  if the variable names an unknown set or one the processor lacks.
InstructionSet instruction_set();

/// Chooses a set for the whole process; "" returns to NOTELLM_INSTRUCTION_SET or, without it, to
/// the best one. Must not be called while kernels run.
///
/// @throws std::invalid_argument  for an unknown name or a set that this processor lacks.
void set_instruction_set(std::string_view name);

/// Whether the processor has bf16 products and the set allows them: `avx512_bf16`, or `none` (which
/// switches off our loops, not LibTorch's) on such a processor.
bool has_bf16_products(InstructionSet set);

/// `none`, `baseline`, `avx2`, `avx512` or `avx512_bf16`.
std::string name_of(InstructionSet set);

}  // namespace notellm
