#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "notellm/ops/attention_runs.h"
#include "notellm/ops/kernel_attention_plan.h"
#include "notellm/ops/prefix_attention.h"
#include "notellm/ops/rope.h"
#include "notellm/ops/segments.h"

namespace notellm {

/// The new tokens of a forward pass and what they may attend to, for LibTorch's operations. The
/// same for every layer, so it is made once. The new tokens lie one after the other, as runs.
struct ComposedAttentionPlan {
  std::vector<int64_t> lengths;          ///< by run: new tokens, >= 1
  std::vector<int64_t> context_lengths;  ///< by run: how many tokens its last token sees
  std::vector<at::Tensor> masks;  ///< by run: (1, 1, new, context) added to scores, or undefined
  AttentionRuns contexts;         ///< each run with all that its last token sees
  std::optional<PrefixLevels> levels;  ///< instead of all these: `prefix_attention`
};

/// Whether `composed_attention` is one call of flash attention over all runs, which needs no masks:
/// half precision on a GPU, and heads that the library takes.
bool takes_flash_attention(at::Device device, at::ScalarType dtype, int64_t head_dim);

/// All tokens of a forest at once: run s is segment s, and rows are the forest's tokens.
///
/// @param options   dtype (of the masks: the compute dtype) and device.
/// @param has_masks  whether masks are made: not for `takes_flash_attention`.
ComposedAttentionPlan plan_composed_attention(const Segments& segments,
                                              const at::TensorOptions& options,
                                              bool has_masks = true);

/// A decoding step: each run is one new token, which sees some ranges of cached keys; its own key
/// is the last.
ComposedAttentionPlan plan_composed_decoding_step(
    std::span<const std::vector<kernels::TokenRange>> contexts, at::Device device);

/// Softmax attention of new tokens over the segments they may see, scaled by 1 / sqrt(E), made of
/// LibTorch's operations: one call of its fused attention per run. Differentiable any number of
/// times; used on a GPU.
///
/// On a GPU in bf16 or fp16 (if E is a multiple of 8, at most 256), one call of LibTorch's flash
/// attention serves all runs; differentiable once. A plan with `levels` is for `prefix_attention`.
/// No GPU has run this yet.
///
/// Nothing is padded. An ancestor's keys are computed once, copied for each run that sees them, and
/// receive the gradients of all its descendants.
///
/// @param queries       (T, H, E), rotated; H a multiple of K (grouped-query attention: H / K query
///                      heads share a key head).
/// @param keys, values  (rows, K, E), the rows that the plan's contexts index; keys rotated.
/// @return              (T, H * E).
at::Tensor composed_attention(const at::Tensor& queries,
                              const at::Tensor& keys,
                              const at::Tensor& values,
                              const ComposedAttentionPlan& plan);

/// The heads of one layer: they give the widths of queries, keys and values in a packed row.
struct AttentionHeads {
  int64_t heads;      ///< H
  int64_t key_heads;  ///< K, divides H
  int64_t head_dim;   ///< E
};

/// The same over a forest in one pass, on the hand-written CPU loops: queries and keys are rotated
/// as they are read, scores stay in the processor's caches, sums are in fp32 (fp64 for fp64).
///
/// @param queries  (R, H E) of the plan's rows, not rotated; or undefined if `packed` holds those
///                 of all tokens.
/// @param packed   (T, (H + 2 K) E): queries, keys and values of all tokens side by side; or
///                 (T, 2 K E), keys and values only, if `queries` is given.
/// @param table    cosines and sines of all T tokens, in fp32 (fp64 for fp64).
/// @return         (R, H E) in the dtype of `packed`; differentiable (once) in both.
///
/// The inputs, the result and (R, H) log-sums are kept for the backward pass; the order of its sums
/// does not depend on the number of threads.
at::Tensor segment_attention(const at::Tensor& queries,
                             const at::Tensor& packed,
                             const RopeTable& table,
                             const std::shared_ptr<const KernelAttentionPlan>& plan,
                             const AttentionHeads& heads);

}  // namespace notellm
