#pragma once

#include <vector>

#include "notellm/retrieval/neighbours.h"
#include "vectors.h"

namespace notellm::internal {

/// @throws std::invalid_argument if k < 1.
void check_k(std::string_view where, int64_t k);

/// A (Q, k) result with nothing found yet.
Neighbours no_neighbours(int64_t queries, int64_t k);

/// Scores one query's candidates exactly and writes the best ones into its row, ordered by score,
/// then by pool index. Notes that the query excludes are left out.
void write_best(const Vectors& queries,
                int64_t query,
                const Vectors& pool,
                const std::vector<int64_t>& candidates,
                const Exclusions& exclusions,
                Neighbours& result);

}  // namespace notellm::internal
