#pragma once

#include "notellm/losses/terms.h"

namespace notellm {

/// Generative-contrastive loss, eq. (2): every note must pick out its partner among the batch's
/// notes (NT-Xent).
///
///   loss_i = -log softmax_{j != i}(exp(tau) cos(e_i, e_j)) at j = partner(i),   partner(i) = i ^ 1
///
/// @param embeddings  (2B, d) floating point, rows 2b and 2b + 1 are a pair; normalised here (norm
/// floored at 1e-12).
/// @param tau         () learnable log-scale; the cosine is multiplied by exp(tau).
/// @param note_ids    (2B) int64 or undefined. Given, anchor i leaves out every j other than its
/// partner whose id
///                    equals that of i or of its partner (false-negative mask).
/// @return            sum over the 2B anchors and their number; differentiable (twice) in
/// `embeddings` and `tau`.
/// @throws std::invalid_argument  if the number of rows is odd or zero, or the shapes do not match.
///
/// Cost: O(B^2 d) time, O(B^2) memory.
LossTerm gcl_loss(const at::Tensor& embeddings,
                  const at::Tensor& tau,
                  const at::Tensor& note_ids = {});

}  // namespace notellm
