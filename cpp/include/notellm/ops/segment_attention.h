#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "notellm/ops/attention_layout.h"
#include "notellm/ops/rope.h"
#include "notellm/ops/segments.h"

namespace notellm {

/// The contexts of runs of new tokens, end to end: what attention over sequences of unequal length
/// wants. Run r sees `rows[context_offsets[r] ... context_offsets[r + 1])`, of which its own tokens
/// are the last.
struct ContextRuns {
  at::Tensor rows;                            ///< int64 rows of the keys, ancestors first
  at::Tensor query_offsets, context_offsets;  ///< (runs + 1) int32
  int64_t longest_run = 0, longest_context = 0;
};

/// Those of a forest's segments, on `device`. Costs 8 bytes a context token.
ContextRuns context_runs(const Segments& segments, at::Device device);

/// Which new tokens a forward pass brings, and what they may attend to, for LibTorch's operations.
/// The same for every layer, so made once. The new tokens lie end to end as runs.
struct AttentionPlan {
  std::vector<int64_t> lengths;          ///< by run: new tokens, >= 1
  std::vector<int64_t> context_lengths;  ///< by run: what its last token sees
  std::vector<at::Tensor> masks;  ///< by run: (1, 1, new, context) added to scores, or undefined
  ContextRuns contexts;
};

/// All tokens of a forest at once: run s is segment s, and sees rows of the forest.
///
/// @param options  dtype (of the masks: the compute dtype) and device.
AttentionPlan plan_forest(const Segments& segments, const at::TensorOptions& options);

/// One more token a run, each of which sees some ranges of cached keys, its own key the last.
AttentionPlan plan_growth(std::span<const std::vector<kernels::TokenRange>> contexts,
                          at::Device device);

/// Softmax attention of new tokens over the segments they may see, scaled by 1 / sqrt(E), of
/// LibTorch's operations: one call of its fused attention a run. Differentiable any number of
/// times; the way on a GPU.
///
/// On a GPU in bf16 or fp16 (and E a multiple of 8, at most 256), one call of LibTorch's flash
/// attention serves all runs; differentiable once. No GPU has run this yet.
///
/// Nothing is padded. An ancestor's keys are computed once, copied for each run that sees them, and
/// receive the gradients of all its descendants.
///
/// @param queries       (T, H, E), rotated; H a multiple of K (grouped-query attention: H / K query
/// heads share a key head).
/// @param keys, values  (rows, K, E) that the plan's contexts speak of; keys rotated.
/// @return              (T, H * E).
at::Tensor composed_attention(const at::Tensor& queries,
                              const at::Tensor& keys,
                              const at::Tensor& values,
                              const AttentionPlan& plan);

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
