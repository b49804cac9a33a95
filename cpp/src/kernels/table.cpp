#include "notellm/kernels/table.h"

#include "cuda/loops.h"
#include "notellm/kernels/instruction_set.h"
#include "tables.h"

namespace notellm::kernels {

const Tables& tables() {
#if defined(__x86_64__)
  switch (instruction_set()) {
    case InstructionSet::kAvx512Bf16:
      return avx512_bf16::tables();
    case InstructionSet::kAvx512:
      return avx512::tables();
    case InstructionSet::kAvx2:
      return avx2::tables();
    default:
      break;
  }
#endif
  return baseline::tables();
}

#ifndef NOTELLM_HAVE_CUDA
const CudaTables* cuda_tables() { return nullptr; }
#endif

}  // namespace notellm::kernels
