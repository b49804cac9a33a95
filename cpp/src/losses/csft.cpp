#include "notellm/losses/csft.h"

#include "tensors.h"

#include "labels.h"
#include "notellm/util/check.h"
#include "ops/tensor_checks.h"

namespace notellm {

LossTerm csft_loss(const at::Tensor& logits,
                   const at::Tensor& labels,
                   const at::Tensor& label_offsets,
                   CsftReduction reduction) {
  constexpr const char* where = "csft_loss";
  internal::check_floating(where, "logits", logits, {internal::kAny, internal::kAny});
  internal::check_tensor(where, "labels", labels, {logits.size(0)}, at::kLong);
  internal::check_device(where, "labels", labels, logits.device());
  internal::check_labels(where, labels, logits.size(1));
  const auto [weights, count] = internal::label_weights(
      where, label_offsets, labels.size(0), reduction, logits.options().requires_grad(false));
  return {internal::weighted_cross_entropy(logits, labels, weights), count};
}

}  // namespace notellm
