#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "notellm/losses/terms.h"

namespace notellm {

/// Side of the square tiles in which `gcl_loss` computes similarities: 1 MiB each in fp32, so that
/// a tile stays in the processor's cache, yet large enough for matrix products at full speed.
inline constexpr int64_t kGclTileRows = 512;

/// What a contrastive batch of R = 2B + H rows knows beside its embeddings.
struct GclRows {
  /// (R) int64 or undefined. If given, anchor i leaves out every j other than its partner whose id
  /// equals that of i or of its partner (false-negative mask).
  at::Tensor note_ids = {};
  /// (R) floating point or undefined: the log of the chance with which sampling takes each row's
  /// note, up to a constant (logQ correction: Yi et al., Sampling-Bias-Corrected Neural Modeling
  /// for Large Corpus Item Recommendations, 2019). It is taken from all scores of the row as a
  /// partner or a negative, so that the loss is nearly that of a softmax over all notes. Not
  /// differentiated.
  at::Tensor log_q = {};
  /// [begin, end): the rows whose losses are summed, by default all 2B. If several calls with
  /// disjoint ranges cover them, their sums and gradients add up to those of one call. Gradients
  /// reach every row, since an anchor's negatives receive some, too.
  std::optional<std::pair<int64_t, int64_t>> anchors = std::nullopt;
  /// H: so many rows at the end are no pairs, but further negatives of all anchors.
  int64_t negatives = 0;
};

/// Generative-contrastive loss, eq. (2): every note must pick out its partner among the batch's
/// notes (NT-Xent).
///
///   loss_i = -log softmax_{j != i}(exp(tau) cos(e_i, e_j) - log q_j) at j = partner(i) = i ^ 1
///
/// @param embeddings  (R, d) floating point, rows 2b and 2b + 1 are a pair, up to the last H rows;
///                    normalised here (norm floored at 1e-12). Computed in fp64 for fp64, otherwise
///                    in fp32.
/// @param tau         () learnable log-scale; the cosine is multiplied by exp(tau).
/// @param given       what else is known of the rows; q_j = 1 where it says nothing.
/// @param tile_rows   side of a tile, even.
/// @return            sum over the anchors and their number; differentiable (twice) in
///                    `embeddings` and `tau`.
/// @throws std::invalid_argument  if the number of rows in pairs is odd or zero, the shapes do not
///                                match, `anchors` is not a range of the rows in pairs, or
///                                `tile_rows` is not even and positive.
///
/// Cost: O(R^2 d) time: half of the product of all rows with all rows forward, one and a half such
/// products backward; O(R d + tile_rows^2) memory. Only the second derivative takes O(R^2) memory.
/// Deterministic for a fixed number of threads.
LossTerm gcl_loss(const at::Tensor& embeddings,
                  const at::Tensor& tau,
                  const GclRows& given = {},
                  int64_t tile_rows = kGclTileRows);

}  // namespace notellm
