#pragma once

#include <ATen/core/Tensor.h>

/// Conversions between fp32 and bf16 on the CPU, in one pass and without a graph; strides are kept.
/// LibTorch's `to` takes a microsecond before it starts, as long as a small matrix product, and
/// needs two passes to round and widen again.
namespace notellm::internal {

/// x in fp32, from any dtype; x itself if it is fp32 already.
at::Tensor widened(const at::Tensor& x);

/// fp32 numbers in bf16.
at::Tensor narrowed(const at::Tensor& x);

/// fp32 numbers rounded to bf16, but stored in fp32; a new tensor.
at::Tensor rounded(const at::Tensor& x);

/// The same in place.
void round_in_place(at::Tensor& x);

}  // namespace notellm::internal
