#include "notellm/ops/rope.h"

#include "tensors.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "autograd/differentiable.h"
#include "on_kernels.h"

namespace notellm {
namespace {

// Llama 3.1: wavelengths beyond the original context are stretched by `factor`, short ones are
// kept, and those between are interpolated.
at::Tensor scale_like_llama3(const at::Tensor& frequencies, const RopeOptions& options) {
  const double context = static_cast<double>(options.original_max_positions);
  const at::Tensor wavelengths = 2 * std::numbers::pi / frequencies;
  const at::Tensor blend = ((context / wavelengths - options.low_frequency_factor) /
                            (options.high_frequency_factor - options.low_frequency_factor));
  const at::Tensor blended = (1 - blend) * frequencies / options.factor + blend * frequencies;
  const at::Tensor is_long = wavelengths > context / options.low_frequency_factor;
  const at::Tensor is_short = wavelengths < context / options.high_frequency_factor;
  return at::where(is_long, frequencies / options.factor,
                   at::where(is_short, frequencies, blended));
}

// Rotates (T, H, E) by the table's angles, or back.
at::Tensor rotate_on_cuda(const at::Tensor& x, const RopeTable& table, int direction) {
  internal::check_compute_dtype("apply_rope", x.scalar_type());
  const at::Device device = x.device();
  const bool has_rows = x.stride(2) == 1 && x.stride(1) == x.size(2);
  const at::Tensor heads = has_rows ? x : x.contiguous();
  const at::Tensor cos = table.cos.contiguous(), sin = table.sin.contiguous();
  at::Tensor out = at::empty(x.sizes(), x.options());
  internal::with_scalar(x.scalar_type(), [&](auto scalar) {
    using Scalar = decltype(scalar);
    internal::on_cuda<Scalar>(device, [&](const auto& loops) {
      loops.rotate({internal::data<Scalar>(heads, device), heads.size(0), heads.size(1),
                    heads.size(2), heads.stride(0)},
                   internal::data<Scalar>(cos, device), internal::data<Scalar>(sin, device),
                   direction, internal::mutable_data<Scalar>(out, device));
    });
  });
  return out;
}

}  // namespace

RopeTable rope_table(const at::Tensor& positions,
                     const RopeOptions& options,
                     at::ScalarType dtype) {
  const auto fp32 = positions.options().dtype(at::kFloat);
  const at::Tensor exponents =
      at::arange(0, options.head_dim, 2, fp32) / static_cast<double>(options.head_dim);
  at::Tensor frequencies = 1.0 / at::pow(options.theta, exponents);  // (E / 2)
  if (options.is_llama3) frequencies = scale_like_llama3(frequencies, options);
  const at::Tensor half = positions.to(at::kFloat).unsqueeze(1) * frequencies;  // (T, E / 2)
  const at::Tensor angles = at::cat({half, half}, 1);                           // (T, E)
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

at::Tensor apply_rope(const at::Tensor& x, const RopeTable& table) {
  if (x.is_cuda() && internal::runs_on_row_loops(x) && x.scalar_type() == table.cos.scalar_type()) {
    const auto forward = [&]() -> internal::Forward {
      return {rotate_on_cuda(x, table, 1), {table.cos, table.sin}};
    };
    return internal::differentiable({x}, forward, [](const internal::Backward& given) {
      internal::refuse_double_backward("apply_rope");
      return std::vector{rotate_on_cuda(given.gradient, {given.saved[0], given.saved[1]}, -1)};
    });
  }
  const auto halves = x.chunk(2, -1);
  const at::Tensor rotated = at::cat({-halves[1], halves[0]}, -1);
  return x * table.cos.unsqueeze(1) + rotated * table.sin.unsqueeze(1);
}

}  // namespace notellm
