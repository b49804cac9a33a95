#include "score_filter.h"

#include "notellm/kernels/instruction_set.h"

#ifdef NOTELLM_HAVE_AMX  // by CMake: on Linux, with a compiler that knows AMX

#include <sys/syscall.h>
#include <unistd.h>

namespace notellm::kernels {
namespace {

// Linux gives a process the state of tiles only when it asks (its documentation: arch/x86/xstate).
bool may_use_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool has_bf16_tiles() {
  static const bool has = may_use_tiles();
  return has && instruction_set() == InstructionSet::kAvx512Bf16;
}

}  // namespace notellm::kernels

#else

namespace notellm::kernels {

bool has_bf16_tiles() { return false; }

// Never called, but must be there.
void split_notes(const float*, int64_t, int64_t, int64_t, Bf16*, Bf16*) {}
void split_queries(const float*, int64_t, int64_t, int64_t, Bf16*, Bf16*) {}
void filter_scores(const ScoreFilter&, const Bf16*, const Bf16*, int64_t) {}

}  // namespace notellm::kernels

#endif
