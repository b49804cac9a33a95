#pragma once

#include <ATen/core/Tensor.h>
#include "tensors.h"

#include <cstdint>

namespace notellm::internal {

/// (tokens, K, E) -> (tokens, heads, E): every key head serves heads / K query heads.
inline at::Tensor repeat_heads(const at::Tensor& x, int64_t heads) {
  const int64_t group = heads / x.size(1);
  if (group == 1) return x;
  return x.unsqueeze(2).expand({-1, -1, group, -1}).reshape({x.size(0), heads, x.size(2)});
}

}  // namespace notellm::internal
