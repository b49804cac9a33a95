#pragma once

#include "tensors.h"

#include "notellm/ops/matmul.h"

namespace notellm::internal {

/// (n, V) logits of states (n, D), in the dtype of `head`, which comes from `for_products`. Without
/// a graph; rows are padded so that matrix products have few shapes.
inline at::Tensor logits_of(const at::Tensor& states, const at::Tensor& head) {
  const int64_t n = states.size(0);
  const at::Tensor rows =
      at::constant_pad_nd(states.to(head.scalar_type()), {0, 0, 0, whole_rows(n) - n});
  return matmul_transposed(rows, head).narrow(0, 0, n);
}

}  // namespace notellm::internal
