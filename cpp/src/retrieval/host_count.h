#pragma once

#include <cstdint>
#include <vector>

#include "notellm/retrieval/rank.h"
#include "notellm/util/progress.h"
#include "vectors.h"

namespace notellm::internal {

struct RankCount {
  int64_t greater = 0;
  int64_t equal = 0;

  void add(double score, double target_score, int64_t times) {
    greater += score > target_score ? times : 0;
    equal += score == target_score ? times : 0;
  }
};

/// Counts the notes of a pool against the score of each query's target, by loops on the host.
class HostCounter {
 public:
  using Rows = Vectors;
  static Vectors rows(std::string_view where, std::string_view name, const at::Tensor& tensor) {
    return to_vectors(where, name, tensor);
  }

  /// @param targets  each query's target in `target_pool`.
  HostCounter(const Vectors& queries,
              const Vectors& pool,
              const Vectors& target_pool,
              const RowPairs& targets);

  /// Counts the whole pool, tile by tile.
  void count_all(const TileOptions& tiles, const ProgressFn& progress);

  /// Counts some pairs `times` times, by their exact scores; -1 takes them back.
  void add_exact(const RowPairs& pairs, int64_t times);

  Ranks ranks() const;

 private:
  const Vectors& queries_;
  const Vectors& pool_;
  std::vector<double> target_scores_;  // (Q)
  std::vector<RankCount> counts_;      // (Q)
};

}  // namespace notellm::internal
