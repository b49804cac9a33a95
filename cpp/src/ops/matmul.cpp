#include "notellm/ops/matmul.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include "tensors.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "on_kernels.h"

namespace notellm {
namespace {

using PointwiseLinear = at::Tensor(const at::Tensor&,
                                   const at::Tensor&,
                                   const std::optional<at::Tensor>&,
                                   std::string_view,
                                   c10::List<std::optional<at::Scalar>>,
                                   std::optional<std::string_view>);

// oneDNN's product, where this build of torch has one.
const std::optional<c10::TypedOperatorHandle<PointwiseLinear>>& onednn_linear() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<PointwiseLinear>> {
    if (!at::hasMKLDNN()) return std::nullopt;
    const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!schema) return std::nullopt;
    return schema->typed<PointwiseLinear>();
  }();
  return handle;
}

// Whether the environment lets oneDNN use bf16 instructions; its names are those of its manual.
bool onednn_may_use_bf16() {
  for (const char* variable : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {
    const char* const limit = std::getenv(variable);
    if (!limit) continue;
    const std::string_view name = limit;
    return name.empty() || name.starts_with("ALL") || name.starts_with("DEFAULT") ||
           name.starts_with("AVX10") || name.starts_with("AVX512_CORE_BF16") ||
           name.starts_with("AVX512_CORE_FP16") || name.starts_with("AVX512_CORE_AMX");
  }
  return true;
}

// Whether the BLAS behind at::linear leaves AVX-512 unused that oneDNN uses.
bool onednn_is_faster() {
#if defined(__x86_64__)
  const bool has_avx512 = instruction_set() >= InstructionSet::kAvx512;
  return has_avx512 && !__builtin_cpu_is("intel") && onednn_linear();
#else
  return onednn_linear().has_value();
#endif
}

at::Tensor fp32_product(const at::Tensor& x,
                        const at::Tensor& weight,
                        const std::optional<at::Tensor>& maybe_bias) {
  if (x.numel() > 0 && internal::runs_on_kernels(x) && onednn_is_faster()) {
    return onednn_linear()->call(x, weight, maybe_bias, "none",
                                 c10::List<std::optional<at::Scalar>>(), "");
  }
  return at::linear(x, weight, maybe_bias);
}

}  // namespace

bool multiplies_bf16() {
  static const bool libraries_do = at::hasMKLDNN() && onednn_may_use_bf16();
  return libraries_do && has_bf16_products(instruction_set());
}

at::Tensor for_products(const at::Tensor& weight, at::ScalarType compute) {
  const at::Tensor rounded = weight.to(compute);
  const bool is_emulated = compute == at::kBFloat16 && weight.is_cpu() && !multiplies_bf16();
  return is_emulated ? rounded.to(at::kFloat) : rounded;
}

at::Tensor matmul_transposed(const at::Tensor& x,
                             const at::Tensor& weight,
                             const at::Tensor& bias) {
  const at::AutoDispatchBelowAutograd no_graph;
  const std::optional<at::Tensor> maybe_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  if (x.scalar_type() == at::kFloat) return fp32_product(x, weight, maybe_bias);
  const bool is_native = weight.scalar_type() == x.scalar_type() &&
                         (x.scalar_type() != at::kBFloat16 || !x.is_cpu() || multiplies_bf16());
  if (is_native) return at::linear(x, weight, maybe_bias);
  const std::optional<at::Tensor> wide_bias =
      bias.defined() ? std::optional(bias.to(at::kFloat)) : std::nullopt;
  return fp32_product(x.to(at::kFloat), weight.to(at::kFloat), wide_bias).to(x.scalar_type());
}

at::Tensor weight_gradient(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
  const at::AutoDispatchBelowAutograd no_graph;
  const bool is_emulated = a.scalar_type() == at::kBFloat16 && a.is_cpu() && !multiplies_bf16();
  if (!is_emulated) return at::mm(a.t(), b).to(dtype);
  return at::mm(a.to(at::kFloat).t(), b.to(at::kFloat)).to(dtype);
}

int64_t whole_rows(int64_t rows) {
  const auto octave = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows)));
  const int64_t step = std::max<int64_t>(8, octave / 32);
  return (rows + step - 1) / step * step;
}

}  // namespace notellm
