#pragma once

#include <ATen/core/Tensor.h>

namespace notellm::internal {

/// residual + branch in the residual's dtype, on the hand-written loops (`runs_on_row_loops`) and
/// without a graph.
///
/// @param residual  (T, n) in `wide_dtype` of the branch's dtype.
/// @param branch    (T, n), contiguous.
at::Tensor add_branch(const at::Tensor& residual, const at::Tensor& branch);

}  // namespace notellm::internal
