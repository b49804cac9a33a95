#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "notellm/retrieval/rank.h"
#include "vectors.h"

// Exact scores by operations of the vectors' device, which may be the CPU: no score is copied to
// the host. Results are those of the host's loops to the bit.
namespace notellm::internal {

/// Whether scores stay on the vectors' device: as asked for, otherwise if that is not the CPU.
bool stays_on_device(const TileOptions& tiles, const at::Tensor& vectors);

/// Vectors where they came from, one per row.
struct DeviceVectors {
  at::Tensor compute;  ///< (N, d) fp32 or fp64
  at::Tensor norms;    ///< (N) fp64, there

  int64_t size() const { return compute.size(0); }
  int64_t width() const { return compute.size(1); }
  at::TensorOptions indices() const { return compute.options().dtype(at::kLong); }

  /// Copies rows, in this order.
  DeviceVectors take(std::span<const int64_t> rows) const;
};

/// Widens and checks; waits for the device once. @throws as `to_vectors`.
DeviceVectors to_device_vectors(std::string_view where,
                                std::string_view name,
                                const at::Tensor& tensor);

/// Pairs of a query and a note, given by their rows.
struct DevicePairs {
  at::Tensor queries;  ///< (M) int64 on the device
  at::Tensor notes;    ///< (M) the same
};

/// Pairs on the device of some vectors.
DevicePairs to_device(const RowPairs& pairs, const at::Tensor& vectors);

/// (M) fp64 on the device: the scores by definition, as `exact_score`.
at::Tensor exact_scores(const DeviceVectors& queries,
                        const DeviceVectors& pool,
                        const DevicePairs& pairs);

/// How far the scores of a tile may be from the exact ones; waits for the device.
TileBound tile_bound(const DeviceVectors& queries, const DeviceVectors& pool);

/// Scores of queries [q0, q1) with notes [n0, n1), on the device.
at::Tensor score_tile(const DeviceVectors& queries,
                      int64_t q0,
                      int64_t q1,
                      const DeviceVectors& pool,
                      int64_t n0,
                      int64_t n1);

/// The sizes of tiles that fill a GPU: half a gigabyte of scores.
TileOptions device_tiles(const TileOptions& tiles);

}  // namespace notellm::internal
