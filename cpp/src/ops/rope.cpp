#include "notellm/ops/rope.h"

#include "tensors.h"

#include <cmath>
#include <numbers>

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
  const auto halves = x.chunk(2, -1);
  const at::Tensor rotated = at::cat({-halves[1], halves[0]}, -1);
  return x * table.cos.unsqueeze(1) + rotated * table.sin.unsqueeze(1);
}

}  // namespace notellm
