#include <ATen/Parallel.h>
#include "tensors.h"

#include "best_first.h"
#include "notellm/retrieval/neighbours.h"
#include "vectors.h"

namespace notellm {
namespace {

constexpr const char* kAmong = "nearest_among";

}  // namespace

Neighbours nearest_among(const at::Tensor& query_rows,
                         const at::Tensor& pool_rows,
                         const at::Tensor& candidates,
                         int64_t k) {
  const auto queries = internal::to_vectors(kAmong, "queries", query_rows);
  const auto pool = internal::to_vectors(kAmong, "pool", pool_rows);
  internal::check_same_kind(kAmong, queries, pool);
  const int64_t Q = queries.size(), N = pool.size();
  const bool is_list = candidates.dim() == 2 && candidates.scalar_type() == at::kLong;
  internal::require(is_list && candidates.size(0) == Q, kAmong,
                    "candidates must be int64 of shape (Q, C) with Q = ", Q, ", but is ",
                    candidates.toString(), " ", candidates.sizes());
  if (candidates.numel() > 0) {
    const auto least = candidates.min().item<int64_t>(), most = candidates.max().item<int64_t>();
    internal::require(least >= -1 && most < N, kAmong, "candidates must be in [0, ", N,
                      ") or -1, but go from ", least, " to ", most);
  }
  // Lists without repetition: of notes to leave out elsewhere, here of those to choose from.
  const internal::Exclusions chosen(kAmong, candidates, Q, N);
  const internal::Exclusions none(kAmong, {}, Q, N);
  Neighbours result = internal::no_neighbours(kAmong, Q, k);
  at::parallel_for(0, Q, 1, [&](int64_t begin, int64_t end) {
    for (int64_t query = begin; query < end; ++query) {
      const auto notes = chosen.of(query);
      internal::write_best(queries, query, pool, {notes.begin(), notes.end()}, none, result);
    }
  });
  return result;
}

}  // namespace notellm
