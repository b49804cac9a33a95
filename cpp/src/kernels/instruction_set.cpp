#include "notellm/kernels/instruction_set.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <optional>
#include <utility>

#include "notellm/util/check.h"

namespace notellm {
namespace {

constexpr std::array<std::pair<std::string_view, InstructionSet>, 5> kNames{
    {{"none", InstructionSet::kNone},
     {"baseline", InstructionSet::kBaseline},
     {"avx2", InstructionSet::kAvx2},
     {"avx512", InstructionSet::kAvx512},
     {"avx512_bf16", InstructionSet::kAvx512Bf16}}};

bool has(InstructionSet set) {
#if defined(__x86_64__)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (set == InstructionSet::kAvx2) return has_avx2;
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (set == InstructionSet::kAvx512) return has_avx512;
  if (set == InstructionSet::kAvx512Bf16) return has_avx512 && __builtin_cpu_supports("avx512bf16");
  return true;
#else
  return set == InstructionSet::kNone || set == InstructionSet::kBaseline;
#endif
}

InstructionSet best() {
  for (const auto set :
       {InstructionSet::kAvx512Bf16, InstructionSet::kAvx512, InstructionSet::kAvx2}) {
    if (has(set)) return set;
  }
  return InstructionSet::kBaseline;
}

InstructionSet parse(std::string_view name, const char* where) {
  if (name.empty()) return best();
  for (const auto& [known, set] : kNames) {
    if (known != name) continue;
    if (has(set)) return set;
    internal::throw_error<std::invalid_argument>(
        where, "the instruction set must be one this processor has, but is ", name, "; try ",
        name_of(best()));
  }
  internal::throw_error<std::invalid_argument>(
      where, "the instruction set must be none, baseline, avx2, avx512 or avx512_bf16, but is '",
      name, "'");
}

constexpr int kAsTheEnvironmentSays = -1;
std::atomic<int> chosen{kAsTheEnvironmentSays};

}  // namespace

std::string name_of(InstructionSet set) {
  for (const auto& [name, known] : kNames) {
    if (known == set) return std::string(name);
  }
  return "unknown";
}

bool has_bf16_products(InstructionSet set) {
  const bool allows = set == InstructionSet::kAvx512Bf16 || set == InstructionSet::kNone;
  return allows && has(InstructionSet::kAvx512Bf16);
}

InstructionSet instruction_set() {
  int set = chosen.load(std::memory_order_relaxed);
  if (set == kAsTheEnvironmentSays) {
    const char* variable = std::getenv("NOTELLM_INSTRUCTION_SET");
    set = static_cast<int>(parse(variable ? variable : "", "NOTELLM_INSTRUCTION_SET"));
    chosen.store(set, std::memory_order_relaxed);
  }
  return static_cast<InstructionSet>(set);
}

void set_instruction_set(std::string_view name) {
  const int set =
      name.empty() ? kAsTheEnvironmentSays : static_cast<int>(parse(name, "set_instruction_set"));
  chosen.store(set, std::memory_order_relaxed);
}

}  // namespace notellm
