#pragma once

#include <ATen/core/Tensor.h>

namespace notellm {

/// A matrix with one byte per weight: w is about its value times the scale of its row. For
/// inference only.
struct QuantisedMatrix {
  at::Tensor values;  ///< (out, in) int8, in [-127, 127]
  at::Tensor scales;  ///< (out) fp32: the largest |w| of each row over 127
};

/// Rounds each weight to the nearest of its row's 255 values: |w - w'| <= scale / 2 (apart from
/// fp32 rounding). A row of zeros stays zero.
///
/// @param matrix  (out, in), floating-point, on any device.
/// @throws std::invalid_argument  for another shape, or a weight that is not finite.
QuantisedMatrix quantise(const at::Tensor& matrix);

/// The matrix values * scales, (out, in) in `dtype` (fp64, fp32 or bf16): each product is rounded
/// once.
at::Tensor dequantise(const at::Tensor& values, const at::Tensor& scales, at::ScalarType dtype);

}  // namespace notellm
