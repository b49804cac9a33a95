#include "notellm/ops/on_device.h"

#include "tensors.h"

namespace notellm {

at::Tensor on_device(const at::Tensor& host, at::Device device) {
  return (device.is_cuda() ? host.pin_memory() : host).to(device, /*non_blocking=*/true);
}

at::Tensor on_device(std::span<const int64_t> values, at::Device device) {
  return on_device(at::tensor(at::ArrayRef(values.data(), values.size()), at::kLong), device);
}

at::Tensor on_device(std::span<const int32_t> values, at::Device device) {
  return on_device(at::tensor(at::ArrayRef(values.data(), values.size()), at::kInt), device);
}

}  // namespace notellm
