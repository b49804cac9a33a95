#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/loops.h"
#include "notellm/kernels/instruction_set.h"
#include "notellm/kernels/table.h"
#include "notellm/ops/dtypes.h"
#include "notellm/util/check.h"

namespace notellm::internal {

/// Whether the hand-written loops run on this device; otherwise composed LibTorch operations do.
inline bool runs_on_kernels(at::Device device) {
  return device.is_cpu() && instruction_set() != InstructionSet::kNone;
}
inline bool runs_on_kernels(const at::Tensor& x) { return runs_on_kernels(x.device()); }

/// Whether loops over rows (norms, SwiGLU, sums) are hand-written for this device: those of the
/// CPU, or the CUDA ones where the library was built with them.
inline bool runs_on_row_loops(const at::Tensor& x) {
  return runs_on_kernels(x) || (x.is_cuda() && kernels::cuda_tables() != nullptr &&
                                instruction_set() != InstructionSet::kNone);
}

/// Calls `body(loops)` with the CUDA loops of a type, which take pointers of `device`.
template <typename Scalar, typename Body>
void on_cuda(at::Device device, const Body& body) {
  const c10::DeviceGuard guard(device);
  body(kernels::cuda_tables()->of<Scalar>());
}

/// Calls `body(Scalar{})` with the kernels' type for a dtype that the decoder computes in.
/// @throws std::invalid_argument  for any other dtype.
template <typename Body>
auto with_scalar(at::ScalarType dtype, const Body& body) {
  check_compute_dtype("kernels", dtype);
  if (dtype == at::kDouble) return body(double{});
  if (dtype == at::kBFloat16) return body(kernels::Bf16{});
  return body(float{});
}

template <typename Scalar>
constexpr at::ScalarType dtype_of() {
  if constexpr (std::is_same_v<Scalar, double>) return at::kDouble;
  if constexpr (std::is_same_v<Scalar, float>) return at::kFloat;
  if constexpr (std::is_same_v<Scalar, kernels::Bf16>) return at::kBFloat16;
  if constexpr (std::is_same_v<Scalar, int8_t>) return at::kChar;
}

/// Whatever was checked before: a raw pointer is of the tensor's own type and memory here, or none.
template <typename Scalar>
void check_memory(const at::Tensor& x, at::Device device) {
  if (x.device() == device && x.scalar_type() == dtype_of<Scalar>()) return;
  throw_error<std::invalid_argument>("kernels", "numbers must be ", name_of(dtype_of<Scalar>()),
                                     " on ", device, ", but are ", name_of(x.scalar_type()), " on ",
                                     x.device());
}

template <typename Scalar>
const Scalar* data(const at::Tensor& x, at::Device device = at::kCPU) {
  if (!x.defined()) return nullptr;
  check_memory<Scalar>(x, device);
  return static_cast<const Scalar*>(x.const_data_ptr());
}
template <typename Scalar>
Scalar* mutable_data(const at::Tensor& x, at::Device device = at::kCPU) {
  check_memory<Scalar>(x, device);
  return static_cast<Scalar*>(x.mutable_data_ptr());
}

/// Calls `body(i)` for i in [0, count) from all threads; each takes the next item when it is free,
/// which balances items of unequal cost. `make_state()` is called once per thread, and its result
/// passed to `body`.
template <typename MakeState, typename Body>
void parallel_items(int64_t count, const MakeState& make_state, const Body& body) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(at::get_num_threads(), count), 1, [&](int64_t, int64_t) {
    auto state = make_state();
    for (int64_t i = next++; i < count; i = next++) body(i, state);
  });
}

/// Rows handed to a thread at once: some 64 KiB of work.
inline int64_t rows_at_once(int64_t width) { return 16384 / std::clamp<int64_t>(width, 1, 16384); }

}  // namespace notellm::internal
