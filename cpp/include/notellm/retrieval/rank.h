#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "notellm/util/progress.h"

namespace notellm {

/// The counts from which each query's target gets its rank in the pool.
struct Ranks {
  at::Tensor greater;  ///< int64 CPU; pool notes that score higher than the target
  at::Tensor equal;    ///< int64 CPU; other pool notes with exactly the target's score
};

/// How scores are computed; it changes speed and memory, never the result.
struct TileOptions {
  int64_t queries = 0;            ///< rows of a tile; 0: as many as suit the caches
  int64_t pool = 0;               ///< columns of a tile; 0: as many as suit the caches
  std::optional<bool> on_device;  ///< whether scores stay on the vectors' device and are compared
                                  ///< there; by default if that is not the CPU
};

/// Ranks by counting: how many notes of the pool score higher than each query's target.
///
/// The score of a query and a note is their inner product, defined as one fixed-order sum in fp64
/// of the vectors as given. Matrix products only filter: a note whose score lies within their
/// rounding bound of the target's is compared again by that sum. So the ranks are exact, identical
/// vectors tie, and tile sizes, thread count, instruction set and matrix library do not matter.
///
/// @param queries   (Q, d) floating point, finite.
/// @param pool      (N, d) the same dtype and device; bf16 and fp16 are widened to fp32.
/// @param targets   (Q) int64 in [0, N), the ground truth of each query; or (Q, T), several of
///                  each, -1 = none. The other targets of a query are notes like any other.
/// @param exclude   (Q) or (Q, E) int64, pool notes to leave out for each query; -1 = none; may be
///                  undefined.
/// @param progress  called with (query-note pairs done, Q * N); a query counts once for each of
///                  several targets.
/// @return          counts of the shape of `targets`; -1 where there is no target.
/// @throws std::invalid_argument  if shapes, dtypes or indices do not fit, a value is not finite,
///                                or a target is excluded.
///
/// Cost: O(Q N d) time on the vectors' device, O(Q (1 + E) + N) + tile memory beside the vectors,
/// if they are fp32 or fp64. M targets of shape (Q, T) cost what M queries with one target do:
/// O(M N d) time, and O(M (d + E)) memory for copies of the queries and their exclusions. On a GPU
/// everything happens there, and only counts come to the host. Not differentiable. Deterministic.
Ranks target_ranks(const at::Tensor& queries,
                   const at::Tensor& pool,
                   const at::Tensor& targets,
                   const at::Tensor& exclude = {},
                   const TileOptions& tiles = {},
                   const ProgressFn& progress = {});

/// The same for a pool that comes in parts: the notes of one part that score higher than each
/// query's target, or exactly as high. The sums over all parts are the target's ranks in the pool,
/// if the part that has the target leaves it out by `exclude`.
///
/// @param targets   (Q, d) the vectors of the targets.
/// @param part      (n, d) some notes of the pool.
/// @param exclude   as above, in [0, n).
/// @return          counts of shape (Q).
Ranks ranks_in_part(const at::Tensor& queries,
                    const at::Tensor& targets,
                    const at::Tensor& part,
                    const at::Tensor& exclude = {},
                    const TileOptions& tiles = {},
                    const ProgressFn& progress = {});

}  // namespace notellm
