#pragma once

#include "notellm/losses/gcl.h"

namespace notellm::internal {

/// The sum of `gcl_loss` over anchors [begin, end) as composed ATen operations on the whole matrix
/// of similarities, O(R^2) memory: used for second derivatives.
///
/// @param unit   (R, d) normalised rows.
/// @param scale  () exp(tau).
/// @param given  as in `gcl_loss`, with anchors.
at::Tensor gcl_composed(const at::Tensor& unit, const at::Tensor& scale, const GclRows& given);

}  // namespace notellm::internal
