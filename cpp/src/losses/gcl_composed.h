#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace notellm::internal {

/// The sum of `gcl_loss` over anchors [begin, end) as composed ATen operations on the whole matrix
/// of similarities, O(B^2) memory: used for second derivatives.
///
/// @param unit      (2B, d) normalised rows.
/// @param scale     () exp(tau).
/// @param note_ids  (2B) or undefined.
at::Tensor gcl_composed(const at::Tensor& unit,
                        const at::Tensor& scale,
                        const at::Tensor& note_ids,
                        int64_t begin,
                        int64_t end);

}  // namespace notellm::internal
