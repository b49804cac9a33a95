#pragma once

#include <ATen/core/Tensor.h>

namespace notellm {

/// x W^T, without a graph, by the fastest library product there is.
///
/// In fp32 on the CPU that is oneDNN's, whose loops use AVX-512 on processors where the BLAS that
/// at::linear calls may not; everywhere else at::linear.
///
/// @param x     (T, in). @param weight  (out, in); either may be a transposed view.
/// @param bias  (out) or undefined.
/// @return      (T, out).
at::Tensor matmul_transposed(const at::Tensor& x,
                             const at::Tensor& weight,
                             const at::Tensor& bias = {});

/// `rows` or at most a 32nd more (or 7): so many that products of batches of all sizes have few
/// different shapes. oneDNN compiles code for every new one (some 8 ms) and keeps it.
int64_t whole_rows(int64_t rows);

}  // namespace notellm
