#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/kernels/table.h"
#include "notellm/models/plan.h"

namespace notellm {

/// The KV cache: keys and values of earlier tokens, one slot per token. Which token sees which
/// slots is up to the plan.
struct DecoderCache {
  std::vector<at::Tensor> layers;  ///< by layer (slots, 2 K E): keys (not rotated) and values
  RopeTable rope;                  ///< (slots, E) for the positions of the slots' tokens

  int64_t slots() const { return rope.cos.size(0); }
};

/// @param compute  dtype of the matrix products and of the cache: 2 K E L numbers per slot.
DecoderCache make_cache(const DecoderConfig& config,
                        int64_t slots,
                        at::ScalarType compute,
                        at::Device device);

/// Sets the positions of the tokens in slots [first, first + n).
void place(DecoderCache& cache,
           int64_t first,
           std::span<const int64_t> positions,
           const DecoderConfig& config);

/// A forest's plan whose keys and values are written to the cache, from slot `first` on.
DecoderPlan with_slots(DecoderPlan plan, int64_t first, at::Device device);

/// Plan of a decoding step: one new token behind each of the given paths through the cache.
///
/// @param paths    for each new token (at least one) the slots it sees, as ranges in the order of
///                 their positions; its own slot is the last.
/// @param compute  the dtype of the cache.
DecoderPlan plan_decoding_step(std::span<const std::vector<kernels::TokenRange>> paths,
                               const DecoderCache& cache,
                               at::ScalarType compute);

}  // namespace notellm
