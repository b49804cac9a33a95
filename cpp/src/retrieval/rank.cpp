#include "notellm/retrieval/rank.h"

#include <ATen/Parallel.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/tensor_checks.h"
#include "vectors.h"

namespace notellm {
namespace {

using internal::Exclusions;
using internal::require;
using internal::TileBound;
using internal::Vectors;

constexpr const char* kWhere = "target_ranks";

struct Count {
  int64_t greater = 0;
  int64_t equal = 0;

  void add(double score, double target_score, int64_t times) {
    greater += score > target_score ? times : 0;
    equal += score == target_score ? times : 0;
  }
};

// The bounds that a query's tile scores are compared with: scores above `high` are greater than the
// target's, scores below `low` are smaller, and the rest (and NaN, from an overflow) must be
// computed exactly.
struct Filter {
  double target_score, low, high;
};

template <typename T>
struct Thresholds {
  explicit Thresholds(const Filter& filter)
      : low(std::nextafter(static_cast<T>(filter.low), -std::numeric_limits<T>::infinity())),
        high(std::nextafter(static_cast<T>(filter.high), std::numeric_limits<T>::infinity())) {}
  T low, high;
};

class RankCounter {
 public:
  RankCounter(const Vectors& queries, const Vectors& pool, const int64_t* targets)
      : queries_(queries), pool_(pool), counts_(queries.size()) {
    const TileBound bound(queries, pool);
    for (int64_t query = 0; query < queries.size(); ++query) {
      const double score = internal::exact_score(queries, query, pool, targets[query]);
      filters_.push_back({score, score - bound(query), score + bound(query)});
    }
  }

  void add_tile(int64_t q0, int64_t q1, int64_t n0, int64_t n1) {
    const at::Tensor tile = internal::score_tile(queries_, q0, q1, pool_, n0, n1);
    AT_DISPATCH_FLOATING_TYPES(tile.scalar_type(), kWhere, [&] {
      const auto* const scores = tile.const_data_ptr<scalar_t>();
      const int64_t width = n1 - n0;
      at::parallel_for(0, q1 - q0, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          add_row(std::span(scores + row * width, width), q0 + row, n0);
        }
      });
    });
  }

  // The tiles counted every note of the pool; this subtracts the target itself and excluded notes.
  void leave_out(int64_t query, int64_t target, std::span<const int64_t> excluded) {
    add_exact(query, target, -1);
    for (const int64_t note : excluded) add_exact(query, note, -1);
  }

  const std::vector<Count>& counts() const { return counts_; }

 private:
  template <typename T>
  void add_row(std::span<const T> scores, int64_t query, int64_t n0) {
    const Thresholds<T> thresholds(filters_[query]);
    int32_t greater = 0, smaller = 0;
    for (const T score : scores) {
      greater += score > thresholds.high;
      smaller += score < thresholds.low;
    }
    counts_[query].greater += greater;
    if (greater + smaller == std::ssize(scores)) return;
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] > thresholds.high || scores[i] < thresholds.low) continue;
      add_exact(query, n0 + static_cast<int64_t>(i), 1);
    }
  }

  void add_exact(int64_t query, int64_t note, int64_t times) {
    const double score = internal::exact_score(queries_, query, pool_, note);
    counts_[query].add(score, filters_[query].target_score, times);
  }

  const Vectors& queries_;
  const Vectors& pool_;
  std::vector<Filter> filters_;  // (Q)
  std::vector<Count> counts_;    // (Q)
};

at::Tensor checked_targets(const at::Tensor& targets,
                           const Exclusions& exclusions,
                           int64_t queries,
                           int64_t pool) {
  internal::check_tensor(kWhere, "targets", targets, {queries}, at::kLong);
  const at::Tensor host = targets.detach().cpu().contiguous();
  for (int64_t query = 0; query < queries; ++query) {
    const int64_t target = host.const_data_ptr<int64_t>()[query];
    require(target >= 0 && target < pool, kWhere, "targets must be in [0, ", pool,
            "), but that of query ", query, " is ", target);
    require(!exclusions.contains(query, target), kWhere, "the target of query ", query,
            " must not be excluded, but note ", target, " is");
  }
  return host;
}

Ranks to_tensors(const std::vector<Count>& counts) {
  const auto size = std::ssize(counts);
  Ranks ranks{at::empty(size, at::kLong), at::empty(size, at::kLong)};
  for (int64_t query = 0; query < size; ++query) {
    ranks.greater.mutable_data_ptr<int64_t>()[query] = counts[query].greater;
    ranks.equal.mutable_data_ptr<int64_t>()[query] = counts[query].equal;
  }
  return ranks;
}

}  // namespace

Ranks target_ranks(const at::Tensor& query_rows,
                   const at::Tensor& pool_rows,
                   const at::Tensor& targets,
                   const at::Tensor& exclude,
                   const TileOptions& tiles,
                   const ProgressFn& progress) {
  internal::check_tiles(kWhere, tiles);
  const Vectors queries = internal::to_vectors(kWhere, "queries", query_rows);
  const Vectors pool = internal::to_vectors(kWhere, "pool", pool_rows);
  internal::check_same_kind(kWhere, queries, pool);
  const int64_t Q = queries.size(), N = pool.size();
  const Exclusions exclusions(kWhere, exclude, Q, N);
  const at::Tensor host_targets = checked_targets(targets, exclusions, Q, N);
  const auto* const target = host_targets.const_data_ptr<int64_t>();

  RankCounter counter(queries, pool, target);
  internal::for_each_tile(
      Q, N, tiles, progress,
      [&](int64_t q0, int64_t q1, int64_t n0, int64_t n1) { counter.add_tile(q0, q1, n0, n1); });
  for (int64_t query = 0; query < Q; ++query) {
    counter.leave_out(query, target[query], exclusions.of(query));
  }
  return to_tensors(counter.counts());
}

}  // namespace notellm
