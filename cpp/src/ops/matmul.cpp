#include "notellm/ops/matmul.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <bit>
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

}  // namespace

at::Tensor matmul_transposed(const at::Tensor& x,
                             const at::Tensor& weight,
                             const at::Tensor& bias) {
  const at::AutoDispatchBelowAutograd no_graph;
  const std::optional<at::Tensor> maybe_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  const bool is_worth_it = x.scalar_type() == at::kFloat && x.numel() > 0;
  if (is_worth_it && internal::runs_on_kernels(x) && onednn_linear()) {
    return onednn_linear()->call(x, weight, maybe_bias, "none",
                                 c10::List<std::optional<at::Scalar>>(), "");
  }
  return at::linear(x, weight, maybe_bias);
}

int64_t whole_rows(int64_t rows) {
  const auto octave = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows)));
  const int64_t step = std::max<int64_t>(8, octave / 32);
  return (rows + step - 1) / step * step;
}

}  // namespace notellm
