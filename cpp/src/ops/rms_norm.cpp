#include "notellm/ops/rms_norm.h"

#include "tensors.h"

#include "autograd/differentiable.h"
#include "autograd/recorded_step.h"
#include "notellm/ops/dtypes.h"
#include "notellm/util/check.h"
#include "on_kernels.h"
#include "tensor_checks.h"

namespace notellm {
namespace internal {
namespace {

// Weight gradients are summed in this many parts for any number of threads, so the bytes are the
// same.
constexpr int64_t kParts = 16;

}  // namespace

at::Tensor rms_norm_forward(const at::Tensor& x,
                            const at::Tensor& weight,
                            double epsilon,
                            at::ScalarType dtype,
                            at::Tensor& inverse_rms) {
  const RecordedStep record("notellm::rms_norm");
  const at::Tensor rows = x.contiguous(), scale = weight.to(x.scalar_type()).contiguous();
  const int64_t width = x.size(-1), count = rows.numel() / std::max<int64_t>(width, 1);
  at::Tensor y = at::empty(x.sizes(), x.options().dtype(dtype));
  inverse_rms = at::empty({count}, x.options());
  with_scalar(dtype, [&](auto scalar) {
    using Scalar = decltype(scalar);
    using Acc = kernels::Accumulator<Scalar>;
    const auto *from = data<Acc>(rows, x.device()), *weights = data<Acc>(scale, x.device());
    auto* to = mutable_data<Scalar>(y, x.device());
    auto* inverse = mutable_data<Acc>(inverse_rms, x.device());
    if (x.is_cuda()) {
      on_cuda<Scalar>(x.device(), [&](const auto& loops) {
        loops.rms_norm(from, weights, epsilon, count, width, to, inverse);
      });
      return;
    }
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(0, count, rows_at_once(width), [&](int64_t begin, int64_t end) {
      table.rms_norm(from + begin * width, weights, epsilon, end - begin, width, to + begin * width,
                     inverse + begin);
    });
  });
  return y;
}

RmsNormGradient rms_norm_backward(const at::Tensor& y_gradient,
                                  const at::Tensor& x,
                                  const at::Tensor& weight,
                                  const at::Tensor& inverse_rms,
                                  bool wants_weight) {
  const RecordedStep record("notellm::rms_norm_backward");
  const at::Tensor gradient = y_gradient.contiguous(), rows = x.contiguous();
  const at::Tensor scale = weight.to(x.scalar_type()).contiguous();
  const int64_t width = x.size(-1), count = rows.numel() / std::max<int64_t>(width, 1);
  at::Tensor x_gradient = at::empty(x.sizes(), x.options());
  at::Tensor parts;
  if (wants_weight)
    parts = at::zeros({x.is_cuda() ? kernels::kCudaParts : kParts, width}, x.options());
  with_scalar(gradient.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    using Acc = kernels::Accumulator<Scalar>;
    const auto* from = data<Scalar>(gradient, x.device());
    const auto *source = data<Acc>(rows, x.device()), *weights = data<Acc>(scale, x.device()),
               *inverse = data<Acc>(inverse_rms, x.device());
    auto* to = mutable_data<Acc>(x_gradient, x.device());
    auto* to_weight = wants_weight ? mutable_data<Acc>(parts, x.device()) : nullptr;
    if (x.is_cuda()) {
      on_cuda<Scalar>(x.device(), [&](const auto& loops) {
        loops.rms_norm_backward(from, source, weights, inverse, count, width, to, to_weight);
      });
      return;
    }
    const auto& table = kernels::tables().of<Scalar>();
    at::parallel_for(0, kParts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) {
        const int64_t begin = part * count / kParts, end = (part + 1) * count / kParts;
        table.rms_norm_backward(from + begin * width, source + begin * width, weights,
                                inverse + begin, end - begin, width, to + begin * width,
                                to_weight ? to_weight + part * width : nullptr);
      }
    });
  });
  return {x_gradient, wants_weight ? parts.sum(0).to(weight.scalar_type()) : at::Tensor()};
}

}  // namespace internal

namespace {

void check(const at::Tensor& x, const at::Tensor& weight, at::ScalarType dtype) {
  constexpr const char* where = "rms_norm";
  const internal::Require require(where);
  require(x.defined(), "x must be given, but is missing");
  internal::check_compute_dtype(where, dtype);
  require(x.dim() >= 1 && x.scalar_type() == wide_dtype(dtype) && x.layout() == at::kStrided &&
              !x.is_meta(),
          "x must be (..., n) of ", internal::name_of(wide_dtype(dtype)), ", but is ",
          internal::name_of(x.scalar_type()), ' ', x.sizes(), " on ", x.device());
  internal::check_floating(where, "weight", weight, {x.size(-1)});
  internal::check_device(where, "weight", weight, x.device());
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x,
                    const at::Tensor& weight,
                    double epsilon,
                    at::ScalarType dtype) {
  check(x, weight, dtype);
  if (internal::runs_on_row_loops(x)) {
    const auto forward = [&]() -> internal::Forward {
      at::Tensor inverse_rms;
      at::Tensor y = internal::rms_norm_forward(x, weight, epsilon, dtype, inverse_rms);
      return {y, {x, weight, inverse_rms}};
    };
    return internal::differentiable({x, weight}, forward, [](const internal::Backward& given) {
      internal::refuse_double_backward("rms_norm");
      const auto& saved = given.saved;
      const auto by =
          internal::rms_norm_backward(given.gradient, saved[0], saved[1], saved[2], given.needs[1]);
      return std::vector{by.x, by.weight};
    });
  }
  return at::rms_norm(x, {x.size(-1)}, weight.to(x.scalar_type()), epsilon).to(dtype);
}

}  // namespace notellm
