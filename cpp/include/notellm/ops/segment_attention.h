#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "notellm/ops/segments.h"

namespace notellm {

/// Keys and values of one segment's tokens so far, each (tokens, K, E); undefined before its first
/// token.
struct SegmentKeys {
  at::Tensor keys;
  at::Tensor values;
};

/// What one layer remembers of a forest, by segment.
using LayerCache = std::vector<SegmentKeys>;

/// Which new tokens a forward pass brings, and what they may attend to. The same for every layer,
/// so made once.
///
/// The T new tokens lie end to end as runs; run r extends segment `segments[r]` and attends to that
/// segment's whole `chains[r]` (its ancestors, root first, then itself).
struct AttentionPlan {
  std::vector<int64_t> segments;             ///< by run
  std::vector<int64_t> lengths;              ///< by run: new tokens, >= 1
  std::vector<std::vector<int64_t>> chains;  ///< by run
  std::vector<at::Tensor> masks;  ///< by run: (1, 1, new, context) added to scores, or undefined
  at::Tensor positions;           ///< (T) int64 on the device
};

/// All tokens of a forest at once: run s is segment s.
///
/// @param options  dtype (of the masks: the compute dtype) and device.
AttentionPlan plan_forest(const Segments& segments, const at::TensorOptions& options);

/// One more token for each of some segments of a forest whose other tokens are cached.
///
/// @param grown    the segments that get a token, each a leaf; their order is the order of the new
/// tokens.
/// @param lengths  tokens that each segment of the forest has already (at least one), by segment.
AttentionPlan plan_growth(const Segments& segments,
                          const std::vector<int64_t>& grown,
                          const std::vector<int64_t>& lengths,
                          const at::TensorOptions& options);

/// Softmax attention of new tokens over the segments they may see, scaled by 1 / sqrt(E).
///
/// Every run is one call of LibTorch's fused attention over its ancestors' and its own keys;
/// nothing is padded, and an ancestor's keys are computed once and receive the gradients of all its
/// descendants.
///
/// @param queries       (T, H, E); H a multiple of K (grouped-query attention: H / K query heads
/// share a key head).
/// @param keys, values  (T, K, E) of the new tokens.
/// @param cache         by segment: takes up the new keys and values behind those it holds.
/// @return              (T, H * E); differentiable.
at::Tensor segment_attention(const at::Tensor& queries,
                             const at::Tensor& keys,
                             const at::Tensor& values,
                             const AttentionPlan& plan,
                             LayerCache& cache);

}  // namespace notellm
