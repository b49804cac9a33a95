#pragma once

#include "device_vectors.h"
#include "notellm/retrieval/neighbours.h"
#include "notellm/util/progress.h"

// Neighbours by operations of the vectors' device; the results are those of the host to the bit.
namespace notellm::internal {

/// The k best notes of the pool for each query.
Neighbours search_on_device(const DeviceVectors& queries,
                            const DeviceVectors& pool,
                            const Exclusions& exclusions,
                            int64_t k,
                            const TileOptions& tiles,
                            const ProgressFn& progress);

/// The k best of each query's candidates.
///
/// @param candidates  (Q, C) int64 on the device, in any order, repeated or not; -1 = none.
Neighbours best_on_device(const DeviceVectors& queries,
                          const DeviceVectors& pool,
                          const at::Tensor& candidates,
                          int64_t k);

}  // namespace notellm::internal
