#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/score_filter.h"
#include "notellm/retrieval/rank.h"
#include "notellm/util/progress.h"
#include "vectors.h"

namespace notellm::internal {

/// Whether scores can be filtered by products of bf16 tiles: fp32 vectors on the CPU, and a
/// processor that has such tiles.
bool has_bf16_filter(const Vectors& queries);

/// How far coarse and fine scores (`kernels::ScoreFilter`) may be from exact ones.
struct Bf16Bounds {
  Bf16Bounds(const Vectors& queries, const Vectors& pool);

  TileBound coarse;
  TileBound fine;
};

/// Queries [first, first + count) as tiles take them.
struct QueryGroup {
  QueryGroup(const Vectors& queries, int64_t first, int64_t count);

  int64_t first, count;
  int64_t width;                         ///< of a padded row
  std::vector<kernels::Bf16> high, low;  ///< (count, width), both padded to whole blocks
};

/// What one thread compares the scores of a group of queries with, and what it has found.
class GroupFilter {
 public:
  GroupFilter(const QueryGroup& group, const Bf16Bounds& bounds);
  virtual ~GroupFilter() = default;

  /// Filters the scores of all queries of the group with the notes [n0, n1).
  void add_notes(const Vectors& pool, int64_t n0, int64_t n1);

 protected:
  /// From now on, exact scores of a query below `low` count as smaller, those above `high` as
  /// greater. Before the first call all count as smaller.
  void compare_with(int64_t query, double low, double high);

  /// Called for a score that the filter leaves open; `score` is within the fine bound.
  virtual void open(int64_t query, int64_t note, float score) = 0;

  const QueryGroup& group() const { return group_; }
  double fine_bound(int64_t query) const { return bounds_.fine(query); }
  /// Scores found greater so far.
  int64_t greater(int64_t query) const { return greater_[query - group_.first]; }

 private:
  const QueryGroup& group_;
  const Bf16Bounds& bounds_;
  int64_t first_note_ = 0;                                              // of those being filtered
  std::vector<float> coarse_low_, coarse_high_, fine_low_, fine_high_;  // (count, padded)
  std::vector<int32_t> counts_;                                         // since they were added up
  std::vector<int64_t> greater_;
  std::vector<kernels::Bf16> high_, low_;  // parts of the notes being filtered
};

/// What all filters of a group may keep together, unless one block of queries keeps more.
inline constexpr int64_t kMostKeptBytes = int64_t{256} << 20;

/// Queries of a group and notes between two reports of progress.
///
/// @param kept_bytes  what all threads' filters keep for each query, at most.
TileOptions filter_tiles(const TileOptions& wanted, int64_t width, int64_t kept_bytes = 0);

/// Filters all scores: group by group, each by all threads.
///
/// @param tiles  from `filter_tiles`.
/// @param make   (group) -> one thread's `Filter`, which is derived from GroupFilter.
/// @param end    (filters) called when a group has met all notes.
template <typename Filter, typename Make, typename End>
void filter_all(const Vectors& queries,
                const Vectors& pool,
                const TileOptions& tiles,
                const ProgressFn& progress,
                const Make& make,
                const End& end) {
  constexpr int64_t kNotesAtOnce = 256;  // that a thread takes at least
  const int64_t Q = queries.size(), N = pool.size();
  for (int64_t q0 = 0; q0 < Q; q0 += tiles.queries) {
    const QueryGroup group(queries, q0, std::min(tiles.queries, Q - q0));
    std::vector<Filter> filters;
    for (int thread = 0; thread < at::get_num_threads(); ++thread) filters.push_back(make(group));
    for (int64_t n0 = 0; n0 < N; n0 += tiles.pool) {
      report_progress(progress, q0 * N + group.count * n0, Q * N);
      const int64_t n1 = std::min(N, n0 + tiles.pool);
      at::parallel_for(n0, n1, kNotesAtOnce, [&](int64_t begin, int64_t stop) {
        filters[at::get_thread_num()].add_notes(pool, begin, stop);
      });
    }
    end(filters);
  }
  report_progress(progress, Q * N, Q * N);
}

}  // namespace notellm::internal
