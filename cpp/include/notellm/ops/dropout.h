#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "notellm/ops/segments.h"

namespace notellm {

/// Dropout (Srivastava et al. 2014) by counter: whether an element is dropped is a function of
/// (seed, site, key of its token, column) and of nothing else.
///
/// With keys of `prefix_keys` a token meets the same mask in whatever batch, micro-batch, process
/// or packing it is computed, and when its layer is computed again.
struct Dropout {
  double share = 0;   ///< of the elements dropped, in [0, 1), rounded to the nearest 2^-16; 0: none
  uint64_t seed = 0;  ///< of the step
  int64_t site = 0;   ///< which of the model's dropouts this is
  at::Tensor keys;    ///< (T) int64, on the CPU; undefined: none is dropped

  bool is_active() const { return share > 0 && keys.defined(); }
};

/// (T) int64 on the CPU: a hash of the token ids from the root of each token's path to the token.
///
/// @param tokens  (T) ids of the forest's tokens.
/// @throws std::invalid_argument  if there are more or fewer tokens than the forest has.
at::Tensor prefix_keys(std::span<const int64_t> tokens, const Segments& segments);

/// x with the dropped elements 0 and the others divided by the share that is kept; without a graph.
/// Its own adjoint: the same call takes a gradient back.
///
/// @param x  (T, n), a floating dtype.
at::Tensor drop(const at::Tensor& x, const Dropout& dropout);

namespace internal {

/// (T, n): what `drop` multiplies with, by LibTorch's operations: on a GPU, and as the definition
/// that tests compare with.
at::Tensor composed_dropout_mask(const Dropout& dropout,
                                 int64_t width,
                                 const at::TensorOptions& options);

}  // namespace internal
}  // namespace notellm
