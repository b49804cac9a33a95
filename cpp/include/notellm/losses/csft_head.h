#pragma once

#include <cstdint>
#include <optional>

#include "notellm/losses/csft.h"

namespace notellm {

/// How `csft_head_loss` computes its logits.
struct HeadOptions {
  at::ScalarType compute = at::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16
  /// Most logits kept at a time, at least 1. By default 2^20 on the CPU, where a tile of this size
  /// stays in the processor's cache, and 2^24 elsewhere.
  std::optional<int64_t> maybe_max_logits;
};

/// `csft_loss` of the LM head's logits, eq. (3), without ever keeping all logits: they are computed
/// in tiles (some positions by a part of the vocabulary), once forward and once more backward.
///
///   csft_loss(states head^T, labels, label_offsets, reduction)
///
/// @param states         (M, D) floating point: final-norm states at the label positions.
/// @param head           (V, D) LM head in any floating dtype, cast tile by tile; the token
///                       embedding itself where the two are tied.
/// @param labels         (M) int64 in [0, V).
/// @param label_offsets  (n + 1) int64 on the CPU, as in `csft_loss`.
/// @return               sum and count as in `csft_loss`; differentiable in `states` and `head`.
/// @throws std::invalid_argument  if shapes, offsets or `max_logits` are wrong.
/// @throws std::out_of_range      for a label outside [0, V); on a GPU, whose labels the host does
///                                not wait for, the sum is NaN instead.
///
/// Sums over tiles (log-sum-exp, gradients) are in fp32, or in fp64 for fp64 inputs; no gradient is
/// computed for an input that needs none. The second derivative goes through `csft_loss` on all
/// logits, and takes their memory.
///
/// Cost: O(M V D) time, one matrix product forward and up to three backward; O(max_logits) memory
/// for a tile and O((M + V) D) for the gradients. Deterministic for a fixed number of threads.
LossTerm csft_head_loss(const at::Tensor& states,
                        const at::Tensor& head,
                        const at::Tensor& labels,
                        const at::Tensor& label_offsets,
                        CsftReduction reduction = CsftReduction::kNote,
                        const HeadOptions& options = {});

}  // namespace notellm
