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

/// The input of a projection: a source and the cheap step that makes h from it.
struct ProjectionInput {
  Prologue prologue = Prologue::kNone;
  at::Tensor source;  ///< (T, n): for kRmsNorm in the state dtype; for kSwiglu (T, 2 n)
  at::Tensor norm_weight;
  double epsilon = 0;
};

/// What low-rank adaptation (LoRA: Hu et al. 2021) adds to a matrix: up down, of rank R.
struct LowRank {
  at::Tensor down;  ///< (R, n); undefined: nothing is added
  at::Tensor up;    ///< (out, R), its scale in it
  Dropout dropout;  ///< of what goes down

  /// Whether the matrix holds up down already. A token then costs nothing more forward; down and up
  /// are there for their gradients. Not with dropout, and on the hand-written loops only.
  bool is_merged = false;
};

/// The weights of a projection; matrices as `for_products` of the compute dtype makes them.
struct ProjectionWeights {
  at::ScalarType compute;  ///< dtype of the product's factors and of what comes out
  at::Tensor matrix;       ///< (out, n)
  at::Tensor bias;         ///< (out) in the compute dtype, or undefined
  LowRank low_rank = {};
};

/// h W^T + dropout(h) down^T up^T + bias, with a residual stream added on if one is given.
///
/// h is made again in the backward pass instead of being kept: per token, that saves the memory of
/// h (of all that a layer keeps, over a quarter) for two cheap passes. No gradient is computed for
/// an input that needs none: beside a frozen matrix, down and up cost 4 R (n + out) operations a
/// token where the matrix's own gradient would cost 2 n out.
///
/// @param residual  (T, out) in the state dtype, or undefined.
/// @return          (T, out) in the compute dtype, or in the residual's; differentiable (once) in
///                  source, norm weight, matrix, bias, down, up and residual.
at::Tensor project(const ProjectionInput& input,
                   const ProjectionWeights& weights,
                   const at::Tensor& residual = {});

}  // namespace notellm
