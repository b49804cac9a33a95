#pragma once

#include "notellm/losses/terms.h"

namespace notellm {

/// NoteLLM's loss, eq. (4): (L_cl + alpha L_gen) / (1 + alpha), where each L is the term's sum
/// divided by its count.
///
/// For one of several micro-batches, pass the counts of the whole batch in `contrastive.count` and
/// `generative.count`: the losses, and so the gradients, of the micro-batches then add up to the
/// batch's. A term with count 0 is left out.
///
/// @param alpha  weight of the generative loss, finite and >= 0 (the paper: 0.01).
/// @return       () differentiable in both sums.
/// @throws std::invalid_argument  if alpha is negative or not finite, or both counts are 0.
at::Tensor joint_loss(const LossTerm& contrastive, const LossTerm& generative, double alpha);

}  // namespace notellm
