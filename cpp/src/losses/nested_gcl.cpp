#include "notellm/losses/nested_gcl.h"

#include "tensors.h"

#include "notellm/util/check.h"

namespace notellm {

LossTerm nested_gcl_loss(const at::Tensor& embeddings,
                         const at::Tensor& tau,
                         std::span<const int64_t> nested_dims,
                         const GclRows& given) {
  LossTerm term = gcl_loss(embeddings, tau, given);  // checks its arguments
  int64_t before = 0;
  for (const int64_t dim : nested_dims) {
    internal::require(before < dim && dim < embeddings.size(1), "nested_gcl_loss",
                      "nested_dims must ascend from 1 to below the width ", embeddings.size(1),
                      ", but ", dim, " comes after ", before);
    term.sum = term.sum + gcl_loss(embeddings.narrow(1, 0, dim), tau, given).sum;
    before = dim;
  }
  if (!nested_dims.empty()) term.sum = term.sum / static_cast<double>(nested_dims.size() + 1);
  return term;
}

}  // namespace notellm
