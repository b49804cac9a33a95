#pragma once

#include <ATen/core/Tensor.h>

/// Between fp32 and bf16 on the CPU, one pass each and without a graph; strides stay what they are.
/// LibTorch's `to` takes a microsecond before it begins, which is as much as a small product, and
/// two passes to round and widen again.
namespace notellm::internal {

/// Of any dtype, in fp32: itself where it is.
at::Tensor widened(const at::Tensor& x);

/// fp32 numbers in bf16.
at::Tensor narrowed(const at::Tensor& x);

/// fp32 numbers rounded to bf16, but kept in fp32: a tensor of their own.
at::Tensor rounded(const at::Tensor& x);

/// The same in place, of fp32 numbers that nobody else reads.
void round_in_place(at::Tensor& x);

}  // namespace notellm::internal
