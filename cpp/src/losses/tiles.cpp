#include "tiles.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <limits>
#include <optional>

namespace notellm::internal {
namespace {

using LinearPointwise = at::Tensor(const at::Tensor&,
                                   const at::Tensor&,
                                   const std::optional<at::Tensor>&,
                                   c10::string_view,
                                   c10::List<std::optional<at::Scalar>>,
                                   std::optional<c10::string_view>);

// oneDNN's product for fp32, which at::linear leaves to MKL: less than half as fast on AMD.
std::optional<c10::TypedOperatorHandle<LinearPointwise>> onednn_linear() {
  const auto op = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (!op.has_value()) return std::nullopt;
  return op->typed<LinearPointwise>();
}

}  // namespace

at::Tensor tile_product(const at::Tensor& x, const at::Tensor& weight) {
  static const auto onednn = onednn_linear();
  if (!onednn.has_value() || !x.is_cpu() || x.scalar_type() != at::kFloat || x.numel() == 0 ||
      weight.numel() == 0) {
    return at::linear(x, weight);
  }
  return onednn->call(x, weight, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

// The first maximum is finite, so that differences from it are no NaN.
RunningLogSum::RunningLogSum(int64_t count, const at::TensorOptions& options)
    : maxima_(at::full({count}, std::numeric_limits<float>::lowest() / 2, options)),
      sums_(at::zeros({count}, options)) {}

void RunningLogSum::absorb(const at::Tensor& scores, int64_t dim, int64_t begin) {
  const int64_t count = scores.size(1 - dim);
  const at::Tensor maxima = maxima_.narrow(0, begin, count), sums = sums_.narrow(0, begin, count);
  const at::Tensor before = maxima.clone();
  maxima.copy_(at::maximum(before, scores.amax(dim)));
  sums.mul_((before - maxima).exp2_()).add_(tile_softmax(scores, dim, maxima).sum(dim));
}

at::Tensor RunningLogSum::log_sums() const { return maxima_ + sums_.log2(); }

at::Tensor tile_softmax(const at::Tensor& scores, int64_t dim, const at::Tensor& log_sums) {
  return at::sub(scores, log_sums.unsqueeze(dim)).exp2_();
}

std::vector<at::Tensor> composed_gradients(const std::function<at::Tensor()>& composed,
                                           const std::vector<at::Tensor>& inputs,
                                           const at::Tensor& gradient) {
  std::vector<at::Tensor> needed;
  for (const at::Tensor& input : inputs) {
    if (input.requires_grad()) needed.push_back(input);
  }
  const auto found = torch::autograd::grad({composed()}, needed, {gradient}, /*retain_graph=*/true,
                                           /*create_graph=*/true);
  std::vector<at::Tensor> gradients(inputs.size());
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) gradients[i] = found[next++];
  }
  return gradients;
}

}  // namespace notellm::internal
