#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace notellm {

/// fp64 for fp64, otherwise fp32: the dtype of what is summed or kept beside matrix products in
/// `compute`, such as the residual stream, norms, states, angles and log-sums.
constexpr at::ScalarType wide_dtype(at::ScalarType compute) {
  return compute == at::kDouble ? at::kDouble : at::kFloat;
}

namespace internal {

/// As torch names it: "float32", "int64".
std::string_view name_of(at::ScalarType dtype);

/// Everything here computes in fp64, fp32 or bf16.
/// @throws std::invalid_argument  for another dtype.
void check_compute_dtype(std::string_view where, at::ScalarType dtype);

}  // namespace internal
}  // namespace notellm
