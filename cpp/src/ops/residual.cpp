#include "residual.h"

#include "tensors.h"

#include "autograd/recorded_step.h"
#include "on_kernels.h"

namespace notellm::internal {

at::Tensor add_branch(const at::Tensor& residual, const at::Tensor& branch) {
  const RecordedStep record("notellm::add");
  const at::Tensor stream = residual.contiguous();
  const at::Device device = stream.device();
  at::Tensor sum = at::empty_like(stream);
  with_scalar(branch.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    using Acc = kernels::Accumulator<Scalar>;
    const auto* from = data<Acc>(stream, device);
    const auto* other = data<Scalar>(branch, device);
    auto* to = mutable_data<Acc>(sum, device);
    if (stream.is_cuda()) {
      on_cuda<Scalar>(device, [&](const auto& loops) { loops.add(from, other, sum.numel(), to); });
      return;
    }
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(0, sum.numel(), 16384, [&](int64_t begin, int64_t end) {
      table.add(from + begin, other + begin, end - begin, to + begin);
    });
  });
  return sum;
}

}  // namespace notellm::internal
