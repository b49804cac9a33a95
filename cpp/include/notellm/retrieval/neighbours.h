#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "notellm/retrieval/rank.h"
#include "notellm/util/progress.h"

namespace notellm {

/// The best notes of the pool for each query, best first.
struct Neighbours {
  at::Tensor scores;   ///< (Q, k) float64 CPU; -infinity where the pool has no more notes
  at::Tensor indices;  ///< (Q, k) int64 CPU; -1 where the pool has no more notes
};

/// Exact nearest neighbours by inner product, scored as in `target_ranks`; ties are broken by pool
/// index.
///
/// @param queries   (Q, d) floating point, finite.
/// @param pool      (N, d) the same dtype and device.
/// @param k         neighbours of each query; >= 1, may exceed N.
/// @param exclude   (Q) or (Q, E) int64, pool notes to leave out for each query (for example the
///                  query itself); -1 = none.
/// @param progress  called with (query-note pairs done, Q * N).
/// @throws std::invalid_argument  if shapes, dtypes or indices do not fit or a value is not finite.
///
/// Cost: O(Q N d) time, O(tile + Q (k + E)) memory beside the vectors. Deterministic. Of
/// some hundred queries at a time, each keeps up to max(512, 2 (k + E) + 2) candidates of 16 bytes.
/// On processors with AMX every thread has candidates of its own: there the queries are so few at a
/// time that all threads together keep at most 256 MiB, or what 32 queries need if that is more.
Neighbours nearest_neighbours(const at::Tensor& queries,
                              const at::Tensor& pool,
                              int64_t k,
                              const at::Tensor& exclude = {},
                              const TileOptions& tiles = {},
                              const ProgressFn& progress = {});

/// The best of some candidates of each query, such as an index found, scored and ordered as by
/// `nearest_neighbours`.
///
/// @param queries     (Q, d) floating point, finite.
/// @param pool        (N, d) the same dtype and device.
/// @param candidates  (Q, C) int64 in [0, N), in any order, repeated or not; -1 = none.
/// @param k           neighbours of each query; >= 1, may exceed C.
/// @param on_device   as in TileOptions.
/// @param progress    called with (queries done, Q), but not on a GPU.
/// @throws std::invalid_argument  if shapes, dtypes or indices do not fit or a value is not finite.
///
/// Cost: O(Q C d + N d) time. Deterministic.
Neighbours nearest_among(const at::Tensor& queries,
                         const at::Tensor& pool,
                         const at::Tensor& candidates,
                         int64_t k,
                         std::optional<bool> on_device = {},
                         const ProgressFn& progress = {});

}  // namespace notellm
