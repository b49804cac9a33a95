#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace notellm {

/// A copy of a host tensor on `device`; on the CPU the tensor itself.
///
/// The copy to a GPU goes through pinned memory without waiting: the host prepares the next batch
/// while the GPU computes. A copy from ordinary memory would wait for all work before it. No GPU
/// has run this yet.
at::Tensor on_device(const at::Tensor& host, at::Device device);

/// The same for (n) int64 or int32 numbers.
at::Tensor on_device(std::span<const int64_t> values, at::Device device);
at::Tensor on_device(std::span<const int32_t> values, at::Device device);

}  // namespace notellm
