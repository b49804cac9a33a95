#include "best_first.h"

#include "tensors.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace notellm::internal {

void check_k(std::string_view where, int64_t k) {
  require(k >= 1, where, "k must be at least 1, but is ", k);
}

Neighbours no_neighbours(int64_t queries, int64_t k) {
  return {at::full({queries, k}, -std::numeric_limits<double>::infinity(), at::kDouble),
          at::full({queries, k}, -1, at::kLong)};
}

void write_best(const Vectors& queries,
                int64_t query,
                const Vectors& pool,
                const std::vector<int64_t>& candidates,
                const Exclusions& exclusions,
                Neighbours& result) {
  std::vector<std::pair<double, int64_t>> scored;  // (-score, note): sorts best first
  for (const int64_t note : candidates) {
    if (exclusions.contains(query, note)) continue;
    scored.emplace_back(-exact_score(queries, query, pool, note), note);
  }
  const int64_t k = result.indices.size(1);
  const int64_t found = std::min<int64_t>(k, std::ssize(scored));
  std::partial_sort(scored.begin(), scored.begin() + found, scored.end());
  auto* const scores = result.scores.mutable_data_ptr<double>() + query * k;
  auto* const indices = result.indices.mutable_data_ptr<int64_t>() + query * k;
  for (int64_t i = 0; i < found; ++i) {
    scores[i] = -scored[i].first;
    indices[i] = scored[i].second;
  }
}

}  // namespace notellm::internal
