#pragma once

#include <ATen/core/Tensor.h>

#include "notellm/ops/dropout.h"

namespace notellm {

/// What happens to a projection's input before the matrix product.
enum class Prologue {
  kNone,     ///< h = source
  kRmsNorm,  ///< h = rms_norm(source) * norm_weight
  kSwiglu,   ///< h = silu(gate) * up, source being gate and up side by side
};

/// The input of a projection: a source and the cheap step (prologue) that makes h from it.
struct ProjectionInput {
  Prologue prologue = Prologue::kNone;
  at::Tensor source;  ///< (T, n): for kRmsNorm in the state dtype; for kSwiglu (T, 2 n)
  at::Tensor norm_weight;
  double epsilon = 0;
};

/// What low-rank adaptation (LoRA: Hu et al. 2021) adds to a matrix: the product up down, of rank
/// R.
struct LowRank {
  at::Tensor down;  ///< (R, n); undefined: nothing is added
  at::Tensor up;    ///< (out, R), already scaled
  Dropout dropout;  ///< of the input of `down`

  /// Whether the matrix already includes up down. The forward pass then costs nothing extra; down
  /// and up are needed for their gradients. Not with dropout, and only on the hand-written loops.
  bool is_merged = false;
};

/// The weights of a projection; matrices as `for_products` returns them for the compute dtype.
struct ProjectionWeights {
  at::ScalarType compute;  ///< dtype of the product's factors and of its result
  at::Tensor matrix;       ///< (out, n)
  at::Tensor bias;         ///< (out) in the compute dtype, or undefined
  LowRank low_rank = {};
};

/// h W^T + dropout(h) down^T up^T + bias, plus the residual stream if one is given.
///
/// h is recomputed in the backward pass instead of being kept: this saves the memory of h (over a
/// quarter of what a layer keeps per token) for two cheap passes. No gradient is computed for an
/// input that needs none: with a frozen matrix, down and up cost 4 R (n + out) operations per
/// token, while the matrix's own gradient would cost 2 n out.
///
/// @param residual  (T, out) in the state dtype, or undefined.
/// @return          (T, out) in the compute dtype, or in the residual's; differentiable (once) in
///                  source, norm weight, matrix, bias, down, up and residual.
at::Tensor project(const ProjectionInput& input,
                   const ProjectionWeights& weights,
                   const at::Tensor& residual = {});

}  // namespace notellm
