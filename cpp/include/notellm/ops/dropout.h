#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "notellm/ops/segments.h"

namespace notellm {

/// Counter-based dropout (Srivastava et al. 2014): whether an element is dropped depends only on
/// (seed, site, key of its token, column).
///
/// With keys from `prefix_keys` a token gets the same mask in any batch, micro-batch, process or
/// packing, and also when its layer is recomputed in the backward pass.
struct Dropout {
  double share = 0;   ///< share of elements dropped, in [0, 1), rounded to the nearest 2^-16
  uint64_t seed = 0;  ///< of the step
  int64_t site = 0;   ///< which of the model's dropouts this is
  at::Tensor keys;    ///< (T) int64, on the CPU; undefined: nothing is dropped

  bool is_active() const { return share > 0 && keys.defined(); }
};

/// (T) int64 on the CPU: a hash of the token ids from the root of each token's path to the token.
///
/// @param tokens  (T) ids of the forest's tokens.
/// @throws std::invalid_argument  if there are more or fewer tokens than the forest has.
at::Tensor prefix_keys(std::span<const int64_t> tokens, const Segments& segments);

/// x with the dropped elements set to 0 and the others divided by the share that is kept; without a
/// graph. The same call on an output's gradient gives the input's gradient.
///
/// @param x  (T, n), a floating dtype.
at::Tensor drop(const at::Tensor& x, const Dropout& dropout);

namespace internal {

/// `drop` by LibTorch's operations, differentiable: used on a GPU, and as the definition that tests
/// compare with. As in the loops, only the product is rounded, not the factor.
at::Tensor composed_drop(const at::Tensor& x, const Dropout& dropout);

}  // namespace internal
}  // namespace notellm
