#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace notellm {

/// A loss before division: what was summed, and over how many items. Only `joint_loss` divides, so
/// micro-batches and processes add up their terms and share one denominator.
struct LossTerm {
  at::Tensor sum;     ///< () differentiable
  int64_t count = 0;  ///< anchors (contrastive), notes or tokens (generative)
};

}  // namespace notellm
