#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace notellm {

/// The first `dim` numbers of each vector, normalised anew: of a model that was trained with this
/// nested dim (`nested_gcl_loss`), vectors in their own right.
///
/// @param vectors  (n, d) floating point.
/// @param dim      in [1, d].
/// @return         (n, dim), rows of norm 1 (of norm 0 where the numbers are all 0), of the same
///                 dtype. With dim = d, `vectors` as they are.
/// @throws std::invalid_argument  if the shape or `dim` does not fit.
at::Tensor truncated(const at::Tensor& vectors, int64_t dim);

}  // namespace notellm
