#include "swiglu.h"

#include "tensors.h"

#include "autograd/recorded_step.h"
#include "on_kernels.h"

namespace notellm::internal {
namespace {

// Calls `body(loops, scalar, first row, rows)` for blocks of rows of a (T, 2 n) gate_up, or for all
// at once on a GPU.
template <typename Body>
void for_swiglu_rows(const at::Tensor& gate_up, const Body& body) {
  with_scalar(gate_up.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    if (gate_up.is_cuda()) {
      on_cuda<Scalar>(gate_up.device(),
                      [&](const auto& loops) { body(loops, scalar, 0, gate_up.size(0)); });
      return;
    }
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(0, gate_up.size(0), rows_at_once(gate_up.size(1) / 2),
                     [&](int64_t begin, int64_t end) { body(table, scalar, begin, end - begin); });
  });
}

}  // namespace

at::Tensor swiglu_forward(const at::Tensor& gate_up) {
  const RecordedStep record("notellm::swiglu");
  const int64_t width = gate_up.size(1) / 2;
  const at::Device device = gate_up.device();
  at::Tensor out = at::empty({gate_up.size(0), width}, gate_up.options());
  for_swiglu_rows(gate_up, [&](const auto& loops, auto scalar, int64_t row, int64_t rows) {
    using Scalar = decltype(scalar);
    loops.swiglu(data<Scalar>(gate_up, device) + row * 2 * width, rows, width,
                 mutable_data<Scalar>(out, device) + row * width);
  });
  return out;
}

at::Tensor swiglu_backward(const at::Tensor& out_gradient, const at::Tensor& gate_up) {
  const RecordedStep record("notellm::swiglu_backward");
  const int64_t width = gate_up.size(1) / 2;
  const at::Device device = gate_up.device();
  at::Tensor gradient = at::empty_like(gate_up);
  for_swiglu_rows(gate_up, [&](const auto& loops, auto scalar, int64_t row, int64_t rows) {
    using Scalar = decltype(scalar);
    loops.swiglu_backward(data<Scalar>(out_gradient, device) + row * width,
                          data<Scalar>(gate_up, device) + row * 2 * width, rows, width,
                          mutable_data<Scalar>(gradient, device) + row * 2 * width);
  });
  return gradient;
}

}  // namespace notellm::internal
