#include "notellm/losses/csft.h"

#include "tensors.h"

#include "labels.h"
#include "notellm/util/check.h"

namespace notellm {

LossTerm csft_loss(const at::Tensor& logits,
                   const at::Tensor& labels,
                   const at::Tensor& label_offsets,
                   CsftReduction reduction) {
  NOTELLM_CHECK_ARG(logits.dim() == 2 && labels.dim() == 1 && labels.size(0) == logits.size(0),
                    "logits must be (M, V) and labels (M), but are ", logits.sizes(), " and ",
                    labels.sizes());
  internal::check_labels(__func__, labels, logits.size(1));
  const auto [weights, count] = internal::label_weights(
      __func__, label_offsets, labels.size(0), reduction, logits.options().requires_grad(false));
  return {internal::weighed_cross_entropy(logits, labels, weights), count};
}

}  // namespace notellm
