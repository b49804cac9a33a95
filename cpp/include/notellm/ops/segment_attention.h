#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "notellm/ops/attention_layout.h"
#include "notellm/ops/rope.h"
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

/// The context of every segment of a forest, end to end: what attention over sequences of unequal
/// length wants. Segment s sees `rows[context_offsets[s] ... context_offsets[s + 1])`, of which its
/// own tokens are the last.
struct ContextRuns {
  at::Tensor rows;                            ///< int64 packed tokens, ancestors first
  at::Tensor query_offsets, context_offsets;  ///< (S + 1) int32
  int64_t longest_run = 0, longest_context = 0;
};

/// All on `device`. Costs 8 bytes a context token.
ContextRuns context_runs(const Segments& segments, at::Device device);

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
  ContextRuns contexts;           ///< of a whole forest in bf16 or fp16 on a GPU; else undefined
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

/// Softmax attention of new tokens over the segments they may see, scaled by 1 / sqrt(E), of
/// LibTorch's operations: one call of its fused attention a run. Differentiable any number of
/// times; the way on a GPU, and the one that knows a cache.
///
/// Where the plan has `contexts` (and E is a multiple of 8, at most 256), one call of LibTorch's
/// flash attention serves all runs, over a copy of each run's context; differentiable once. No GPU
/// has run this yet.
///
/// Nothing is padded, and an ancestor's keys are computed once and receive the gradients of all its
/// descendants.
///
/// @param queries       (T, H, E), rotated; H a multiple of K (grouped-query attention: H / K query
/// heads share a key head).
/// @param keys, values  (T, K, E) of the new tokens; keys rotated.
/// @param cache         by segment: takes up the new keys and values behind those it holds.
/// @return              (T, H * E).
at::Tensor composed_attention(const at::Tensor& queries,
                              const at::Tensor& keys,
                              const at::Tensor& values,
                              const AttentionPlan& plan,
                              LayerCache& cache);

/// The heads of one layer's projections: widths of the parts that lie side by side in a row.
struct AttentionHeads {
  int64_t heads;      ///< H
  int64_t key_heads;  ///< K, divides H
  int64_t head_dim;   ///< E
};

/// The same over a forest in one pass, on the hand-written CPU loops: queries and keys are rotated
/// on the way in, scores never leave the caches, the sums run in fp32 (fp64 for fp64).
///
/// @param queries  (R, H E) of the layout's rows, not rotated; or undefined where `packed` holds
///                 those of all tokens.
/// @param packed   (T, (H + 2 K) E): queries, keys, values of all tokens side by side; without the
///                 queries (T, 2 K E) where those are given apart.
/// @param table    cosines and sines of all T tokens, in fp32 (fp64 for fp64).
/// @return         (R, H E) in the dtype of `packed`; differentiable (once) in both.
///
/// Backward keeps the inputs, the result and (R, H) log-sums; its sums run in an order that does
/// not depend on the number of threads.
at::Tensor segment_attention(const at::Tensor& queries,
                             const at::Tensor& packed,
                             const RopeTable& table,
                             const std::shared_ptr<const AttentionLayout>& layout,
                             const AttentionHeads& heads);

}  // namespace notellm
