#pragma once

#include <ATen/core/Tensor.h>

namespace notellm {

/// RMS normalisation over the last dimension (Zhang and Sennrich 2019): x / rms(x) * weight.
///
/// @param x       (..., n) fp32 or fp64.
/// @param weight  (n), cast to x's dtype.
/// @param dtype   of the result; computed in the dtype of x.
/// @return        x's shape; differentiable (once) in `x` and `weight`.
at::Tensor rms_norm(const at::Tensor& x,
                    const at::Tensor& weight,
                    double epsilon,
                    at::ScalarType dtype);

namespace internal {

/// The same without a graph. Only on the hand-written loops (`runs_on_kernels`).
/// @param inverse_rms  receives 1 / rms of every row, for `rms_norm_backward`.
at::Tensor rms_norm_forward(const at::Tensor& x,
                            const at::Tensor& weight,
                            double epsilon,
                            at::ScalarType dtype,
                            at::Tensor& inverse_rms);

struct RmsNormGradient {
  at::Tensor x;
  at::Tensor weight;  ///< undefined unless wanted
};
RmsNormGradient rms_norm_backward(const at::Tensor& y_gradient,
                                  const at::Tensor& x,
                                  const at::Tensor& weight,
                                  const at::Tensor& inverse_rms,
                                  bool wants_weight);

}  // namespace internal
}  // namespace notellm
