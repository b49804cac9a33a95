#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace notellm {

/// What the host made for a pass, on `device`; itself for the CPU.
///
/// To a GPU through pinned memory, without waiting: the host goes on to the next batch while the
/// GPU computes. A copy from ordinary memory would wait for all work before it. No GPU has run this
/// yet.
at::Tensor on_device(const at::Tensor& host, at::Device device);

/// The same of (n) int64, or int32, numbers.
at::Tensor on_device(std::span<const int64_t> values, at::Device device);
at::Tensor on_device(std::span<const int32_t> values, at::Device device);

}  // namespace notellm
