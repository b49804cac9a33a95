#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/prompts/prefix_forest.h"
#include "notellm/prompts/tokens.h"

namespace notellm {

/// Which sequences are computed together, each distinct one once.
///
/// The n sequences are sorted by their tokens (`prefix_order`), and G of them are distinct.
/// Sequences with a common prefix are neighbours and so meet in one batch. Nothing is padded, so
/// lengths within a batch may differ.
struct PrefixBatches {
  std::vector<int64_t> rows;        ///< (n) indices of the sequences; equal ones are neighbours
  std::vector<int64_t> groups{0};   ///< (G+1) distinct sequence g stands for rows [groups[g],
                                    ///< groups[g + 1])
  std::vector<int64_t> batches{0};  ///< (b+1) batch b is the distinct sequences [batches[b],
                                    ///< batches[b + 1]); {0} if there is no batch

  int64_t size() const { return static_cast<int64_t>(batches.size()) - 1; }
};

struct BatchOptions {
  /// Most tokens of one batch: those of its forest (shared ones counted once), plus `room` for each
  /// sequence. A sequence that is longer gets its own batch.
  int64_t budget = 4096;
  int64_t room = 0;           ///< tokens that each sequence may grow by
  ForestOptions forest = {};  ///< how the batches' forests are built
};

/// Finds equal sequences and cuts the distinct ones into batches.
///
/// @throws std::invalid_argument  if the budget is below 1, or the forest's options are not valid.
///
/// Cost: O(N log n) for N tokens in n sequences; one thread. Depends on its arguments only.
PrefixBatches prefix_batches(const TokenLists& sequences, const BatchOptions& options);

/// The distinct sequences of one batch, in order.
std::vector<TokenSpan> sequences_of(const TokenLists& sequences,
                                    const PrefixBatches& batches,
                                    int64_t batch);

}  // namespace notellm
