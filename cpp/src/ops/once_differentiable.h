#pragma once

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "notellm/util/check.h"

namespace notellm::internal {

/// Refuses to be differentiated again: a gradient computed by a hand-written loop has no graph.
inline void refuse_double_backward(const char* where) {
  if (!at::GradMode::is_enabled()) return;
  throw_error<NotSupportedError>(
      where,
      "the backward pass must run without create_graph, but it is asked for; try "
      "notellm.set_instruction_set(\"none\") for second derivatives");
}

/// Stands for an input that is not given: autograd functions take no undefined tensors, and count
/// `needs_input_grad` by position.
inline at::Tensor or_empty(const at::Tensor& x) { return x.defined() ? x : at::empty({0}); }
inline bool is_given(const at::Tensor& x) { return x.numel() > 0; }
inline at::Tensor or_undefined(const at::Tensor& x) { return is_given(x) ? x : at::Tensor(); }

}  // namespace notellm::internal
