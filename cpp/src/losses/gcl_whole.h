#pragma once

#include "notellm/losses/gcl.h"

namespace notellm::internal {

/// `gcl_loss` of a batch that is a single tile, on the CPU: the whole matrix of similarities is
/// kept for the backward pass. A batch of the paper's 64 pairs takes microseconds, so its cost is
/// the number of operations that are called.
struct WholeGcl {
  at::Tensor sum;       ///< () of the anchors' losses
  at::Tensor gradient;  ///< (A, R) in the scores exp(tau) cos: softmax, minus 1 at partners
};

/// @param unit   (R, d) normalised rows in fp32 or fp64.
/// @param scale  exp(tau).
/// @param given  as in `gcl_loss`, with anchors; `note_ids` are int32, `log_q` has the dtype of
///               `unit`.
WholeGcl gcl_whole(const at::Tensor& unit, double scale, const GclRows& given);

/// (R, d): (G + G^T) U, where G is the gradient from `gcl_whole`; its row 0 is anchor `begin`.
at::Tensor weighted_by(const at::Tensor& gradient, const at::Tensor& unit, int64_t begin);

}  // namespace notellm::internal
