#include "notellm/ops/quantise.h"

#include "tensors.h"

#include "autograd/recorded_step.h"
#include "notellm/ops/dtypes.h"
#include "notellm/util/check.h"
#include "on_kernels.h"
#include "tensor_checks.h"

namespace notellm {

using internal::data;
using internal::mutable_data;
using internal::with_scalar;

QuantisedMatrix quantise(const at::Tensor& matrix) {
  internal::check_floating("quantise", "a matrix", matrix, {internal::kAny, internal::kAny});
  internal::require(matrix.numel() > 0, "quantise", "a matrix must not be empty, but is of shape ",
                    matrix.sizes());
  const at::Tensor weights = matrix.detach().to(at::kFloat);
  const at::Tensor scales = weights.abs().amax(1) / 127.0;
  internal::require(scales.isfinite().all().item<bool>(), "quantise",
                    "numbers must be finite to become int8, but a row holds inf or nan");
  const at::Tensor divisors = scales.where(scales > 0, at::ones({}, scales.options()));
  at::Tensor values = (weights / divisors.unsqueeze(1)).round_().clamp_(-127, 127).to(at::kChar);
  return {values.contiguous(), scales};
}

at::Tensor dequantise(const at::Tensor& values, const at::Tensor& scales, at::ScalarType dtype) {
  internal::check_tensor("dequantise", "values", values, {internal::kAny, internal::kAny},
                         at::kChar);
  internal::check_tensor("dequantise", "scales", scales, {values.size(0)}, at::kFloat);
  internal::check_device("dequantise", "scales", scales, values.device());
  internal::check_compute_dtype("dequantise", dtype);
  if (!internal::runs_on_kernels(values)) {
    const at::ScalarType wide = wide_dtype(dtype);
    return (values.to(wide) * scales.to(wide).unsqueeze(1)).to(dtype);
  }
  const internal::RecordedStep record("notellm::dequantise");
  const at::Tensor rows = values.contiguous(), factors = scales.contiguous();
  const int64_t width = values.size(1);
  at::Tensor out = at::empty(rows.sizes(), rows.options().dtype(dtype));
  with_scalar(dtype, [&](auto scalar) {
    using Scalar = decltype(scalar);
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(
        0, values.size(0), internal::rows_at_once(width), [&](int64_t begin, int64_t end) {
          table.dequantise(data<int8_t>(rows) + begin * width, data<float>(factors) + begin,
                           end - begin, width, mutable_data<Scalar>(out) + begin * width);
        });
  });
  return out;
}

}  // namespace notellm
