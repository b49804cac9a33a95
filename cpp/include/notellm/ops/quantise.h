#pragma once

#include <ATen/core/Tensor.h>

namespace notellm {

/// A matrix in a byte a weight: w is about value times scale of its row. For inference only.
struct QuantisedMatrix {
  at::Tensor values;  ///< (out, in) int8, in [-127, 127]
  at::Tensor scales;  ///< (out) fp32: the largest |w| of each row over 127
};

/// Rounds each weight to the nearest of its row's 255 values: |w - w'| <= scale / 2 (but for fp32
/// rounding). A row of zeros stays one.
///
/// @param matrix  (out, in), floating-point, on any device.
/// @throws std::invalid_argument  for another shape, or a weight that is not finite.
QuantisedMatrix quantise(const at::Tensor& matrix);

/// The matrix again, (out, in) in `dtype` (fp64, fp32 or bf16): each product is rounded once.
at::Tensor dequantise(const at::Tensor& values, const at::Tensor& scales, at::ScalarType dtype);

}  // namespace notellm
