#include "notellm/losses/joint.h"

#include "tensors.h"

#include <cmath>

#include "notellm/util/check.h"
#include "ops/tensor_checks.h"

namespace notellm {

at::Tensor joint_loss(const LossTerm& contrastive, const LossTerm& generative, double alpha) {
  const internal::Require require("joint_loss");
  require(std::isfinite(alpha) && alpha >= 0, "alpha must be finite and at least 0, but is ",
          alpha);
  require(contrastive.count > 0 || generative.count > 0,
          "a batch must have contrastive or generative items, but has neither");
  at::Tensor total;
  const auto add = [&](const LossTerm& term, double weight) {
    if (term.count <= 0) return;
    internal::require(term.sum.defined() && term.sum.numel() == 1 && term.sum.is_floating_point() &&
                          !term.sum.is_meta(),
                      "joint_loss", "a loss must be a scalar of a floating-point dtype, but is ",
                      term.sum.toString(), " of shape ", term.sum.sizes());
    if (total.defined()) internal::check_device("joint_loss", "a loss", term.sum, total.device());
    const at::Tensor part = term.sum * (weight / static_cast<double>(term.count));
    total = total.defined() ? total + part : part;
  };
  add(contrastive, 1.0 / (1.0 + alpha));
  add(generative, alpha / (1.0 + alpha));
  return total;
}

}  // namespace notellm
