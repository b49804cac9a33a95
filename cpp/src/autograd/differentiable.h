#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

/// Functions whose derivative is written by hand. torch's own header for them takes ten seconds to
/// compile; here one source includes it.
namespace notellm::internal {

/// What a forward pass gives: its value, and what its backward pass will need of tensors.
struct Forward {
  at::Tensor value;
  std::vector<at::Tensor>
      saved;  ///< inputs, the value and others without a graph; may be undefined
};

/// What a backward pass is given.
struct Backward {
  at::Tensor gradient;            ///< of the value, of its shape
  std::vector<at::Tensor> saved;  ///< as the forward pass left them
  std::vector<bool> needs;        ///< by input: whether its gradient is asked for
};

/// The gradients by input; undefined where none is asked for.
using BackwardFn = std::function<std::vector<at::Tensor>(const Backward&)>;

/// `forward()`, run without a graph, as a function of `inputs` that torch differentiates by
/// `backward`. Where a second derivative is asked for, gradients are enabled during `backward`.
///
/// @param inputs    what the value depends on; undefined: not given.
/// @param backward  captures no tensor: those belong into `saved`.
at::Tensor differentiable(const std::vector<at::Tensor>& inputs,
                          const std::function<Forward()>& forward,
                          BackwardFn backward);

/// Refuses to be differentiated again: a gradient computed by a hand-written loop has no graph.
void refuse_double_backward(const char* where);

/// Gradients of `composed()` by autograd, with a graph of their own: what a hand-written backward
/// returns when it is itself differentiated.
///
/// @param inputs  what `composed` reads; one that needs no gradient gets an undefined one.
std::vector<at::Tensor> composed_gradients(const std::function<at::Tensor()>& composed,
                                           const std::vector<at::Tensor>& inputs,
                                           const at::Tensor& gradient);

}  // namespace notellm::internal
