#include <ATen/Parallel.h>
#include "tensors.h"

#include <algorithm>

#include "best_first.h"
#include "device_search.h"
#include "notellm/retrieval/neighbours.h"
#include "vectors.h"

namespace notellm {
namespace {

constexpr const char* kAmong = "nearest_among";
constexpr int64_t kQueriesAtATime = 256;

void check_candidates(const at::Tensor& candidates, int64_t queries, int64_t pool) {
  const bool is_list = candidates.dim() == 2 && candidates.scalar_type() == at::kLong;
  internal::require(is_list && candidates.size(0) == queries, kAmong,
                    "candidates must be int64 of shape (Q, C) with Q = ", queries, ", but is ",
                    candidates.toString(), " ", candidates.sizes());
  if (candidates.numel() == 0) return;
  const auto least = candidates.min().item<int64_t>(), most = candidates.max().item<int64_t>();
  internal::require(least >= -1 && most < pool, kAmong, "candidates must be in [0, ", pool,
                    ") or -1, but go from ", least, " to ", most);
}

}  // namespace

Neighbours nearest_among(const at::Tensor& query_rows,
                         const at::Tensor& pool_rows,
                         const at::Tensor& candidates,
                         int64_t k,
                         std::optional<bool> on_device,
                         const ProgressFn& progress) {
  internal::check_k(kAmong, k);
  if (internal::stays_on_device({0, 0, on_device}, pool_rows)) {
    const auto queries = internal::to_device_vectors(kAmong, "queries", query_rows);
    const auto pool = internal::to_device_vectors(kAmong, "pool", pool_rows);
    internal::check_same_kind(kAmong, queries.compute, pool.compute);
    check_candidates(candidates, queries.size(), pool.size());
    return internal::best_on_device(queries, pool, candidates.to(pool.compute.device()), k);
  }
  const auto queries = internal::to_vectors(kAmong, "queries", query_rows);
  const auto pool = internal::to_vectors(kAmong, "pool", pool_rows);
  internal::check_same_kind(kAmong, queries.compute, pool.compute);
  const int64_t Q = queries.size(), N = pool.size();
  check_candidates(candidates, Q, N);
  // Lists without repetition: of notes to leave out elsewhere, here of those to choose from.
  const internal::Exclusions chosen(kAmong, candidates, Q, N);
  const internal::Exclusions none(kAmong, {}, Q, N);
  Neighbours result = internal::no_neighbours(Q, k);
  for (int64_t done = 0; done < Q; done += kQueriesAtATime) {
    report_progress(progress, done, Q);
    const int64_t next = std::min(Q, done + kQueriesAtATime);
    at::parallel_for(done, next, 1, [&](int64_t begin, int64_t end) {
      for (int64_t query = begin; query < end; ++query) {
        const auto notes = chosen.of(query);
        internal::write_best(queries, query, pool, {notes.begin(), notes.end()}, none, result);
      }
    });
  }
  return result;
}

}  // namespace notellm
