#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace notellm {

/// Rotary position embedding (Su et al. 2021) with the frequency scaling of Llama 3.1 as an option.
struct RopeOptions {
  int64_t head_dim = 64;   ///< E, even.
  double theta = 10000.0;  ///< Base of the geometric series of frequencies.
  bool is_llama3 = false;  ///< Whether the four numbers below apply.
  double factor = 8.0;     ///< Low frequencies are divided by this.
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  int64_t original_max_positions = 8192;
};

/// Cosines and sines of every token's rotation angles, each (T, E): the E / 2 angles are repeated
/// once, for the two halves of a head.
struct RopeTable {
  at::Tensor cos;
  at::Tensor sin;
};

/// @param positions  (T) int64 on any device.
/// @param dtype      of the table; the angles are computed in fp32, as in Hugging Face's models.
RopeTable rope_table(const at::Tensor& positions, const RopeOptions& options, at::ScalarType dtype);

/// Rotates every head (x1, x2), where x1 and x2 are its halves: x * cos + (-x2, x1) * sin.
///
/// @param x  (T, heads, E).
/// @return   the same shape and dtype; differentiable.
at::Tensor apply_rope(const at::Tensor& x, const RopeTable& table);

}  // namespace notellm
