#include "notellm/retrieval/rank.h"

#include <ATen/Parallel.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "bf16_filter.h"
#include "ops/tensor_checks.h"
#include "vectors.h"

namespace notellm {
namespace {

using internal::Exclusions;
using internal::require;
using internal::TileBound;
using internal::Vectors;

constexpr const char* kWhere = "target_ranks";
constexpr const char* kPartWhere = "ranks_in_part";

struct Count {
  int64_t greater = 0;
  int64_t equal = 0;

  void add(double score, double target_score, int64_t times) {
    greater += score > target_score ? times : 0;
    equal += score == target_score ? times : 0;
  }
};

using Counts = std::vector<Count>;  // (Q)

// What is counted: notes of a pool against the score of each query's target.
struct Comparison {
  const Vectors& queries;
  const Vectors& pool;
  std::vector<double> target_scores;  // (Q)

  void add_exact(Count& count, int64_t query, int64_t note, int64_t times) const {
    count.add(internal::exact_score(queries, query, pool, note), target_scores[query], times);
  }
};

// Counting by fp32 or fp64 products, on the vectors' device.
class ProductCounter {
 public:
  ProductCounter(const Comparison& comparison, Counts& counts)
      : comparison_(comparison),
        bound_(comparison.queries, comparison.pool, internal::tile_products(comparison.queries)),
        counts_(counts) {}

  void add_tile(int64_t q0, int64_t q1, int64_t n0, int64_t n1) {
    const at::Tensor tile =
        internal::score_tile(comparison_.queries, q0, q1, comparison_.pool, n0, n1);
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

 private:
  // Scores above `high` are greater than the target's, scores below `low` are smaller, and the rest
  // (and NaN, from an overflow) must be computed exactly.
  template <typename T>
  void add_row(std::span<const T> scores, int64_t query, int64_t n0) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    const double target_score = comparison_.target_scores[query], bound = bound_(query);
    const T low = std::nextafter(static_cast<T>(target_score - bound), -infinity);
    const T high = std::nextafter(static_cast<T>(target_score + bound), infinity);
    int32_t greater = 0, smaller = 0;
    for (const T score : scores) {
      greater += score > high;
      smaller += score < low;
    }
    counts_[query].greater += greater;
    if (greater + smaller == std::ssize(scores)) return;
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] > high || scores[i] < low) continue;
      comparison_.add_exact(counts_[query], query, n0 + static_cast<int64_t>(i), 1);
    }
  }

  const Comparison& comparison_;
  TileBound bound_;
  Counts& counts_;
};

// Counting by products of bf16 tiles: one thread's part.
class RankFilter : public internal::GroupFilter {
 public:
  RankFilter(const internal::QueryGroup& group,
             const internal::Bf16Bounds& bounds,
             const Comparison& comparison)
      : GroupFilter(group, bounds), comparison_(comparison), exact_(group.count) {
    for (int64_t query = group.first; query < group.first + group.count; ++query) {
      const double score = comparison.target_scores[query];
      compare_with(query, score, score);
    }
  }

  void add_to(Counts& counts) const {
    for (int64_t i = 0; i < group().count; ++i) {
      Count& count = counts[group().first + i];
      count.greater += greater(group().first + i) + exact_[i].greater;
      count.equal += exact_[i].equal;
    }
  }

 private:
  void open(int64_t query, int64_t note, float /*score*/) override {
    comparison_.add_exact(exact_[query - group().first], query, note, 1);
  }

  const Comparison& comparison_;
  Counts exact_;  // (group)
};

Counts count_by_filter(const Comparison& comparison,
                       const TileOptions& tiles,
                       const ProgressFn& progress) {
  Counts counts(comparison.queries.size());
  const internal::Bf16Bounds bounds(comparison.queries, comparison.pool);
  internal::filter_all<RankFilter>(
      comparison.queries, comparison.pool, tiles, progress,
      [&](const internal::QueryGroup& group) { return RankFilter(group, bounds, comparison); },
      [&](const std::vector<RankFilter>& filters) {
        for (const RankFilter& filter : filters) filter.add_to(counts);
      });
  return counts;
}

Counts count_by_products(const Comparison& comparison,
                         const TileOptions& tiles,
                         const ProgressFn& progress) {
  Counts counts(comparison.queries.size());
  ProductCounter counter(comparison, counts);
  internal::for_each_tile(
      comparison.queries.size(), comparison.pool.size(), internal::product_tiles(tiles), progress,
      [&](int64_t q0, int64_t q1, int64_t n0, int64_t n1) { counter.add_tile(q0, q1, n0, n1); });
  return counts;
}

// Queries by rising cosine with their target. Targets of a low one have many notes near their
// score: a block of tiles that has such a query needs its fine scores, so they had better share
// blocks.
std::vector<int64_t> by_cosine(const Comparison& comparison) {
  const auto* const norms = comparison.queries.norms.const_data_ptr<double>();
  const auto cosine = [&](int64_t query) {
    return norms[query] > 0 ? comparison.target_scores[query] / norms[query] : 0.0;
  };
  std::vector<int64_t> order(comparison.queries.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return cosine(a) < cosine(b); });
  return order;
}

Counts count_all(const Comparison& comparison,
                 const TileOptions& tiles,
                 const ProgressFn& progress) {
  if (!internal::has_bf16_filter(comparison.queries))
    return count_by_products(comparison, tiles, progress);
  const std::vector<int64_t> order = by_cosine(comparison);
  const Vectors queries = comparison.queries.take(order);
  Comparison ordered{queries, comparison.pool, {}};
  for (const int64_t query : order)
    ordered.target_scores.push_back(comparison.target_scores[query]);
  const Counts found = count_by_filter(ordered, tiles, progress);
  Counts counts(order.size());
  for (size_t i = 0; i < order.size(); ++i) counts[order[i]] = found[i];
  return counts;
}

// The same without the notes that a query leaves out.
Counts count_without(const Comparison& comparison,
                     const Exclusions& exclusions,
                     const TileOptions& tiles,
                     const ProgressFn& progress) {
  Counts counts = count_all(comparison, tiles, progress);
  for (int64_t query = 0; query < std::ssize(counts); ++query) {
    for (const int64_t note : exclusions.of(query))
      comparison.add_exact(counts[query], query, note, -1);
  }
  return counts;
}

Ranks to_tensors(const Counts& counts) {
  const auto size = std::ssize(counts);
  Ranks ranks{at::empty(size, at::kLong), at::empty(size, at::kLong)};
  for (int64_t query = 0; query < size; ++query) {
    ranks.greater.mutable_data_ptr<int64_t>()[query] = counts[query].greater;
    ranks.equal.mutable_data_ptr<int64_t>()[query] = counts[query].equal;
  }
  return ranks;
}

// The targets on the CPU, checked.
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

// One target for each query.
Ranks ranks_of_targets(const at::Tensor& query_rows,
                       const Vectors& pool,
                       const at::Tensor& targets,
                       const at::Tensor& exclude,
                       const TileOptions& tiles,
                       const ProgressFn& progress) {
  const Vectors queries = internal::to_vectors(kWhere, "queries", query_rows);
  internal::check_same_kind(kWhere, queries, pool);
  const int64_t Q = queries.size();
  const Exclusions exclusions(kWhere, exclude, Q, pool.size());
  const at::Tensor host_targets = checked_targets(targets, exclusions, Q, pool.size());
  const auto* const target = host_targets.const_data_ptr<int64_t>();

  Comparison comparison{queries, pool, {}};
  for (int64_t query = 0; query < Q; ++query) {
    comparison.target_scores.push_back(internal::exact_score(queries, query, pool, target[query]));
  }
  Counts counts = count_without(comparison, exclusions, tiles, progress);
  for (int64_t query = 0; query < Q; ++query)
    comparison.add_exact(counts[query], query, target[query], -1);
  return to_tensors(counts);
}

// Several targets of a query are those of as many equal queries.
Ranks ranks_of_several(const at::Tensor& queries,
                       const Vectors& pool,
                       const at::Tensor& targets,
                       const at::Tensor& exclude,
                       const TileOptions& tiles,
                       const ProgressFn& progress) {
  const at::Tensor host = targets.detach().cpu();
  const at::Tensor is_there = host.ne(-1);
  const at::Tensor query = is_there.nonzero().select(1, 0);
  const at::Tensor its_exclude =
      exclude.defined() ? exclude.index_select(0, query.to(exclude.device())) : at::Tensor();
  const Ranks found = ranks_of_targets(queries.index_select(0, query.to(queries.device())), pool,
                                       host.masked_select(is_there), its_exclude, tiles, progress);
  const auto in_place = [&](const at::Tensor& counts) {
    return at::full_like(host, -1).masked_scatter_(is_there, counts);
  };
  return {in_place(found.greater), in_place(found.equal)};
}

}  // namespace

Ranks target_ranks(const at::Tensor& queries,
                   const at::Tensor& pool_rows,
                   const at::Tensor& targets,
                   const at::Tensor& exclude,
                   const TileOptions& tiles,
                   const ProgressFn& progress) {
  internal::check_tiles(kWhere, tiles);
  const Vectors pool = internal::to_vectors(kWhere, "pool", pool_rows);
  if (targets.dim() != 2) return ranks_of_targets(queries, pool, targets, exclude, tiles, progress);
  internal::check_floating(kWhere, "queries", queries, {internal::kAny, internal::kAny});
  const int64_t Q = queries.size(0);
  internal::check_tensor(kWhere, "targets", targets, {Q, internal::kAny}, at::kLong);
  const Exclusions checked(kWhere, exclude, Q, pool.size());  // so that a message names its query
  return ranks_of_several(queries, pool, targets, exclude, tiles, progress);
}

Ranks ranks_in_part(const at::Tensor& query_rows,
                    const at::Tensor& target_rows,
                    const at::Tensor& part_rows,
                    const at::Tensor& exclude,
                    const TileOptions& tiles,
                    const ProgressFn& progress) {
  internal::check_tiles(kPartWhere, tiles);
  const Vectors queries = internal::to_vectors(kPartWhere, "queries", query_rows);
  const Vectors targets = internal::to_vectors(kPartWhere, "targets", target_rows);
  const Vectors part = internal::to_vectors(kPartWhere, "part", part_rows);
  internal::check_same_kind(kPartWhere, queries, part);
  internal::check_same_kind(kPartWhere, queries, targets);
  const int64_t Q = queries.size();
  require(targets.size() == Q, kPartWhere, "targets must have a row for each of the ", Q,
          " queries, but have ", targets.size());
  const Exclusions exclusions(kPartWhere, exclude, Q, part.size());

  Comparison comparison{queries, part, {}};
  for (int64_t query = 0; query < Q; ++query) {
    comparison.target_scores.push_back(internal::exact_score(queries, query, targets, query));
  }
  return to_tensors(count_without(comparison, exclusions, tiles, progress));
}

}  // namespace notellm
