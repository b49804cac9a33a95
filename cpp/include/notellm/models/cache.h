#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/kernels/table.h"
#include "notellm/models/plan.h"

namespace notellm {

/// Keys and values of tokens that later ones attend to, by slot; who sees which slots is for the
/// plan to say.
struct DecoderCache {
  std::vector<at::Tensor> layers;  ///< (slots, 2 K E) by layer: keys, not rotated, and values
  RopeTable rope;                  ///< (slots, E) of the tokens' positions

  int64_t slots() const { return rope.cos.size(0); }
};

/// @param compute  dtype of the matrix products, and of what is kept: 2 K E L numbers a slot.
DecoderCache make_cache(const DecoderConfig& config,
                        int64_t slots,
                        at::ScalarType compute,
                        at::Device device);

/// Says at which positions the tokens of slots [first, first + n) stand.
void place(DecoderCache& cache,
           int64_t first,
           std::span<const int64_t> positions,
           const DecoderConfig& config);

/// A forest's plan, of which the cache takes up all tokens' keys and values, from slot `first` on.
DecoderPlan with_slots(DecoderPlan plan, int64_t first, at::Device device);

/// Plan of one new token for each of some paths through cached ones.
///
/// @param paths    by new token, at least one: the slots it sees, ranges in the order of their
///                 positions, its own slot the last.
/// @param compute  the cache's.
DecoderPlan plan_growth(std::span<const std::vector<kernels::TokenRange>> paths,
                        const DecoderCache& cache,
                        at::ScalarType compute);

}  // namespace notellm
