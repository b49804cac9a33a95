#pragma once

#include "device_vectors.h"
#include "notellm/retrieval/rank.h"
#include "notellm/util/progress.h"

namespace notellm::internal {

/// Counts the notes of a pool against the score of each query's target. All counts stay on the
/// device until they are asked for.
class DeviceCounter {
 public:
  using Rows = DeviceVectors;
  static DeviceVectors rows(std::string_view where,
                            std::string_view name,
                            const at::Tensor& tensor) {
    return to_device_vectors(where, name, tensor);
  }

  /// @param targets  each query's target in `target_pool`.
  DeviceCounter(const DeviceVectors& queries,
                const DeviceVectors& pool,
                const DeviceVectors& target_pool,
                const RowPairs& targets);

  /// Counts the whole pool, tile by tile.
  void count_all(const TileOptions& tiles, const ProgressFn& progress);

  /// Counts some pairs `times` times, by their exact scores; -1 takes them back.
  void add_exact(const RowPairs& pairs, int64_t times);

  /// The counts, on the CPU.
  Ranks ranks() const { return {greater_.cpu(), equal_.cpu()}; }

 private:
  void add_scores(const DevicePairs& pairs, int64_t times);
  void add_tile(int64_t q0, int64_t q1, int64_t n0, int64_t n1);

  const DeviceVectors& queries_;
  const DeviceVectors& pool_;
  at::Tensor target_scores_;    // (Q)
  at::Tensor low_, high_;       // (Q, 1) of the vectors' dtype
  at::Tensor greater_, equal_;  // (Q) int64
};

}  // namespace notellm::internal
