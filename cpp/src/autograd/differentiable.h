#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

/// Functions with a hand-written derivative. torch's own header for them takes ten seconds to
/// compile; here only one source includes it.
namespace notellm::internal {

/// The result of a forward pass: its value, and the tensors that its backward pass will need.
struct Forward {
  at::Tensor value;
  std::vector<at::Tensor>
      saved;  ///< inputs, the value and others without a graph; may be undefined
};

/// The arguments of a backward pass.
struct Backward {
  at::Tensor gradient;            ///< gradient of the value, in its shape
  std::vector<at::Tensor> saved;  ///< as the forward pass left them
  std::vector<bool> needs;        ///< by input: whether its gradient is needed
};

/// Returns the gradients by input; undefined where none is needed.
using BackwardFn = std::function<std::vector<at::Tensor>(const Backward&)>;

/// Runs `forward()` without a graph; to autograd the result is a function of `inputs` with the
/// derivative `backward`. If a second derivative is needed, gradients are enabled during
/// `backward`.
///
/// @param inputs    the tensors that the value depends on; optional ones may be undefined.
/// @param backward  must not capture tensors: those belong in `saved`.
at::Tensor differentiable(const std::vector<at::Tensor>& inputs,
                          const std::function<Forward()>& forward,
                          BackwardFn backward);

/// Throws if gradients are enabled (a second derivative): a hand-written loop records no graph.
void refuse_double_backward(const char* where);

/// Gradients of `composed()` by autograd, with a graph of their own: a hand-written backward
/// returns them when it is itself differentiated.
///
/// @param inputs  what `composed` reads; the gradient is undefined for those that need none.
std::vector<at::Tensor> composed_gradients(const std::function<at::Tensor()>& composed,
                                           const std::vector<at::Tensor>& inputs,
                                           const at::Tensor& gradient);

}  // namespace notellm::internal
