#include "notellm/ops/matmul.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include "tensors.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "autograd/differentiable.h"
#include "notellm/ops/dtypes.h"
#include "notellm/util/check.h"
#include "on_kernels.h"
#include "rounding.h"
#include "tensor_checks.h"

namespace notellm {
namespace {

using PointwiseLinear = at::Tensor(const at::Tensor&,
                                   const at::Tensor&,
                                   const std::optional<at::Tensor>&,
                                   std::string_view,
                                   c10::List<std::optional<at::Scalar>>,
                                   std::optional<std::string_view>);

// oneDNN's matrix product, if this build of torch has it.
const std::optional<c10::TypedOperatorHandle<PointwiseLinear>>& onednn_linear() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<PointwiseLinear>> {
    if (!at::hasMKLDNN()) return std::nullopt;
    const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!schema) return std::nullopt;
    return schema->typed<PointwiseLinear>();
  }();
  return handle;
}

// Whether the environment variables allow oneDNN to use bf16 instructions; the names of instruction
// sets are those of oneDNN's manual.
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

constexpr int64_t kWide = 2048, kFewRows = 1024;

// Whether oneDNN's product is faster than that of the BLAS behind at::linear, MKL on x86-64. On
// processors that are not Intel's, MKL does not use AVX-512; with AVX2 it takes up to twice as long
// as oneDNN (four times for a few rows) where the weight is wide, but less for narrow and
// transposed ones.
bool onednn_is_faster(const at::Tensor& x, const at::Tensor& weight) {
  if (!onednn_linear()) return false;
#if defined(__x86_64__)
  if (__builtin_cpu_is("intel")) return false;
  if (instruction_set() >= InstructionSet::kAvx512) return true;
  const int64_t out = weight.size(0), in = weight.size(1);
  return weight.is_contiguous() && out >= kWide && (out > in || x.size(0) <= kFewRows);
#else
  return true;
#endif
}

at::Tensor fp32_product(const at::Tensor& x,
                        const at::Tensor& weight,
                        const std::optional<at::Tensor>& maybe_bias) {
  if (x.numel() > 0 && internal::runs_on_kernels(x) && onednn_is_faster(x, weight)) {
    return onednn_linear()->call(x, weight, maybe_bias, "none",
                                 c10::List<std::optional<at::Scalar>>(), "");
  }
  return at::linear(x, weight, maybe_bias);
}

// Whether products in `compute` on x's device are done as fp32 products of rounded numbers.
bool is_emulated(at::ScalarType compute, const at::Tensor& x) {
  return compute == at::kBFloat16 && x.is_cpu() && !multiplies_bf16();
}
// The same for a factor made by `for_products`, whose dtype shows it.
bool is_emulated_by(const at::Tensor& weight, at::ScalarType compute) {
  return is_emulated(compute, weight) ||
         (compute == at::kBFloat16 && weight.scalar_type() == at::kFloat);
}

// Two factors whose dimension `dim` is summed over.
void check_factors(const char* where,
                   const at::Tensor& a,
                   const at::Tensor& b,
                   int64_t dim,
                   at::ScalarType compute) {
  using internal::kAny;
  internal::check_floating(where, "the first factor", a, {kAny, kAny});
  const int64_t shared = a.size(dim);
  internal::check_floating(where, "the second factor", b,
                           {dim == 0 ? shared : kAny, dim == 1 ? shared : kAny});
  internal::check_device(where, "the second factor", b, a.device());
  const auto is_kept_as = [&](const at::Tensor& x) {
    return x.scalar_type() == compute ||
           (compute == at::kBFloat16 && x.scalar_type() == at::kFloat && is_emulated(compute, x));
  };
  internal::require(a.scalar_type() == b.scalar_type() || (is_kept_as(a) && is_kept_as(b)), where,
                    "both factors must be of one dtype, but are ",
                    internal::name_of(a.scalar_type()), " and ",
                    internal::name_of(b.scalar_type()));
}

// x W^T of bf16 numbers, stored in bf16 or fp32; the result is not rounded yet.
at::Tensor emulated_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  std::optional<at::Tensor> maybe_bias;
  if (bias.defined()) maybe_bias = internal::widened(bias);
  return fp32_product(internal::widened(x), internal::widened(weight), maybe_bias);
}

}  // namespace

bool multiplies_bf16() {
  static const bool libraries_do = at::hasMKLDNN() && onednn_may_use_bf16();
  return libraries_do && has_bf16_products(instruction_set());
}

at::Tensor for_products(const at::Tensor& factor, at::ScalarType compute) {
  if (!factor.defined() || !factor.is_floating_point() || factor.is_meta()) {
    internal::throw_error<std::invalid_argument>(
        "for_products", "a factor must be of a floating-point dtype, but is ", factor.toString());
  }
  internal::check_compute_dtype("for_products", compute);
  if (!is_emulated(compute, factor)) return factor.to(compute);
  const bool has_graph = factor.requires_grad() && at::GradMode::is_enabled();
  const bool is_wide = factor.scalar_type() == at::kFloat;
  if (!has_graph)
    return is_wide ? internal::rounded(factor) : internal::widened(factor.to(compute));
  if (!is_wide) return factor.to(compute).to(at::kFloat);
  return internal::differentiable(
      {factor},
      [&]() -> internal::Forward {
        return {internal::rounded(factor), {}};
      },
      [](const internal::Backward& given) {
        return std::vector{for_products(given.gradient, at::kBFloat16)};
      });
}

at::Tensor matmul_transposed(const at::Tensor& x,
                             const at::Tensor& weight,
                             const at::Tensor& bias,
                             std::optional<at::ScalarType> maybe_compute) {
  const at::AutoDispatchBelowAutograd no_graph;
  const at::ScalarType compute = maybe_compute.value_or(x.scalar_type());
  check_factors("matmul_transposed", x, weight, 1, compute);
  if (is_emulated_by(weight, compute)) {
    return internal::narrowed(emulated_product(x, weight, bias));
  }
  const std::optional<at::Tensor> maybe_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  return compute == at::kFloat ? fp32_product(x, weight, maybe_bias)
                               : at::linear(x, weight, maybe_bias);
}

at::Tensor wide_product(const at::Tensor& x, const at::Tensor& weight, at::ScalarType compute) {
  const at::AutoDispatchBelowAutograd no_graph;
  check_factors("wide_product", x, weight, 1, compute);
  if (!is_emulated_by(weight, compute)) {
    const at::Tensor product = matmul_transposed(x, weight);
    return compute == at::kDouble ? product : product.to(at::kFloat);
  }
  at::Tensor product = emulated_product(x, weight, {});
  internal::round_in_place(product);
  return product;
}

at::Tensor weight_gradient(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
  const at::AutoDispatchBelowAutograd no_graph;
  check_factors("weight_gradient", a, b, 0, at::kBFloat16);
  const bool is_native = a.scalar_type() == b.scalar_type() && !is_emulated(a.scalar_type(), a);
  if (is_native) return at::mm(a.t(), b).to(dtype);
  return at::mm(internal::widened(a).t(), internal::widened(b)).to(dtype);
}

int64_t whole_rows(int64_t rows) {
  const auto octave = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows)));
  const int64_t step = std::max<int64_t>(8, octave / 32);
  return (rows + step - 1) / step * step;
}

}  // namespace notellm
