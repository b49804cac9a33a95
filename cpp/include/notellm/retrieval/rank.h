#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "notellm/util/progress.h"

namespace notellm {

/// The counts from which each query's target gets its rank in the pool.
struct Ranks {
  at::Tensor greater;  ///< (Q) int64 CPU; pool notes that score higher than the target
  at::Tensor equal;    ///< (Q) int64 CPU; other pool notes with exactly the target's score
};

/// Sizes of the tiles in which scores are computed; they change speed and memory, never the result.
struct TileOptions {
  int64_t queries = 256;  ///< rows of a tile; >= 1
  int64_t pool = 4096;    ///< columns of a tile; >= 1
};

/// Ranks by counting: how many notes of the pool score higher than each query's target.
///
/// The score of a query and a note is their inner product, defined as one fixed-order sum in fp64
/// of the vectors as given. Tiles of a matrix product only filter: a note whose tile score lies
/// within the rounding bound of the target's score is compared again by that sum. So the ranks are
/// exact, identical vectors tie, and tile sizes, thread count and matrix library do not matter.
///
/// @param queries   (Q, d) floating point, finite.
/// @param pool      (N, d) the same dtype and device; bf16 and fp16 are widened to fp32.
/// @param targets   (Q) int64 in [0, N), the ground truth of each query.
/// @param exclude   (Q) or (Q, E) int64, pool notes to leave out for each query; -1 = none; may be
///                  undefined.
/// @param progress  called with (query-note pairs done, Q * N).
/// @throws std::invalid_argument  if shapes, dtypes or indices do not fit, a value is not finite,
///                                or a target is excluded.
///
/// Cost: O(Q N d) time on the vectors' device, O(Q + N) d + tile memory on the host. Not
/// differentiable. Deterministic.
Ranks target_ranks(const at::Tensor& queries,
                   const at::Tensor& pool,
                   const at::Tensor& targets,
                   const at::Tensor& exclude = {},
                   const TileOptions& tiles = {},
                   const ProgressFn& progress = {});

}  // namespace notellm
