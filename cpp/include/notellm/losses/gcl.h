#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "notellm/losses/terms.h"

namespace notellm {

/// Side of the square tiles in which `gcl_loss` computes similarities: 1 MiB each in fp32, so that
/// a tile stays in the processor's cache, yet large enough for matrix products at full speed.
inline constexpr int64_t kGclTileRows = 512;

/// Generative-contrastive loss, eq. (2): every note must pick out its partner among the batch's
/// notes (NT-Xent).
///
///   loss_i = -log softmax_{j != i}(exp(tau) cos(e_i, e_j)) at j = partner(i),   partner(i) = i ^ 1
///
/// @param embeddings  (2B, d) floating point, rows 2b and 2b + 1 are a pair; normalised here (norm
///                    floored at 1e-12). Computed in fp64 for fp64, otherwise in fp32.
/// @param tau         () learnable log-scale; the cosine is multiplied by exp(tau).
/// @param note_ids    (2B) int64 or undefined. If given, anchor i leaves out every j other than its
///                    partner whose id equals that of i or of its partner (false-negative mask).
/// @param anchors     [begin, end): the rows whose losses are summed, by default all. If several
///                    calls with disjoint ranges cover all rows, their sums and gradients add up to
///                    those of one call. Gradients reach every row, since an anchor's negatives
///                    receive some, too.
/// @param tile_rows   side of a tile, even.
/// @return            sum over the anchors and their number; differentiable (twice) in
///                    `embeddings` and `tau`.
/// @throws std::invalid_argument  if the number of rows is odd or zero, the shapes do not match,
///                                `anchors` is not a range of rows, or `tile_rows` is not even and
///                                positive.
///
/// Cost: O(B^2 d) time: half of the product of all rows with all rows forward, one and a half such
/// products backward; O(B d + tile_rows^2) memory. Only the second derivative takes O(B^2) memory.
/// Deterministic for a fixed number of threads.
LossTerm gcl_loss(const at::Tensor& embeddings,
                  const at::Tensor& tau,
                  const at::Tensor& note_ids = {},
                  std::optional<std::pair<int64_t, int64_t>> anchors = std::nullopt,
                  int64_t tile_rows = kGclTileRows);

}  // namespace notellm
