#pragma once

#include <ATen/core/Tensor.h>

/// SwiGLU (Shazeer 2020), silu(gate) * up, on the hand-written loops (`runs_on_row_loops`) and
/// without a graph.
namespace notellm::internal {

/// @param gate_up  (T, 2 n), contiguous: gate and up side by side.
/// @return         (T, n).
at::Tensor swiglu_forward(const at::Tensor& gate_up);

/// @param out_gradient  (T, n), contiguous.
/// @return              (T, 2 n): the gradient of gate_up.
at::Tensor swiglu_backward(const at::Tensor& out_gradient, const at::Tensor& gate_up);

}  // namespace notellm::internal
