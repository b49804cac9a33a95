#include "host_count.h"

#include <ATen/Parallel.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "bf16_filter.h"
#include "notellm/kernels/table.h"

namespace notellm::internal {
namespace {

constexpr const char* kWhere = "target_ranks";

using Counts = std::vector<RankCount>;  // (Q)

// What is counted: notes of a pool against the score of each query's target.
struct Comparison {
  const Vectors& queries;
  const Vectors& pool;
  std::span<const double> target_scores;  // (Q)

  void add_exact(RankCount& count, int64_t query, int64_t note, int64_t times) const {
    count.add(exact_score(queries, query, pool, note), target_scores[query], times);
  }
};

// (M) the scores of pairs, by all threads.
std::vector<double> exact_scores(const Vectors& queries,
                                 const Vectors& pool,
                                 const RowPairs& pairs) {
  constexpr int64_t kPairsAtOnce = 256;  // that a thread takes at least
  std::vector<double> scores(pairs.queries.size());
  at::parallel_for(0, std::ssize(scores), kPairsAtOnce, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      scores[i] = exact_score(queries, pairs.queries[i], pool, pairs.notes[i]);
  });
  return scores;
}

// Counting by fp32 or fp64 products, on the vectors' device.
class ProductCounter {
 public:
  ProductCounter(const Comparison& comparison, Counts& counts)
      : comparison_(comparison),
        bound_(comparison.queries,
               comparison.pool,
               tile_products(comparison.queries.host.scalar_type(), comparison.queries.width())),
        counts_(counts) {}

  void add_tile(int64_t q0, int64_t q1, int64_t n0, int64_t n1) {
    const at::Tensor tile = score_tile(comparison_.queries, q0, q1, comparison_.pool, n0, n1);
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
    int64_t greater = 0, smaller = 0;
    kernels::tables().of<T>().count_scores(scores.data(), std::ssize(scores), low, high, &greater,
                                           &smaller);
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
class RankFilter : public GroupFilter {
 public:
  RankFilter(const QueryGroup& group, const Bf16Bounds& bounds, const Comparison& comparison)
      : GroupFilter(group, bounds), comparison_(comparison), exact_(group.count) {
    for (int64_t query = group.first; query < group.first + group.count; ++query) {
      const double score = comparison.target_scores[query];
      compare_with(query, score, score);
    }
  }

  void add_to(Counts& counts) const {
    for (int64_t i = 0; i < group().count; ++i) {
      RankCount& count = counts[group().first + i];
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
  const Bf16Bounds bounds(comparison.queries, comparison.pool);
  filter_all<RankFilter>(
      comparison.queries, comparison.pool, filter_tiles(tiles, comparison.queries.width()),
      progress, [&](const QueryGroup& group) { return RankFilter(group, bounds, comparison); },
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
  for_each_tile(
      comparison.queries.size(), comparison.pool.size(), product_tiles(tiles), progress,
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

Counts count_pool(const Comparison& comparison,
                  const TileOptions& tiles,
                  const ProgressFn& progress) {
  if (!has_bf16_filter(comparison.queries)) return count_by_products(comparison, tiles, progress);
  const std::vector<int64_t> order = by_cosine(comparison);
  const Vectors queries = comparison.queries.take(order);
  std::vector<double> target_scores;
  for (const int64_t query : order) target_scores.push_back(comparison.target_scores[query]);
  const Counts found = count_by_filter({queries, comparison.pool, target_scores}, tiles, progress);
  Counts counts(order.size());
  for (size_t i = 0; i < order.size(); ++i) counts[order[i]] = found[i];
  return counts;
}

}  // namespace

HostCounter::HostCounter(const Vectors& queries,
                         const Vectors& pool,
                         const Vectors& target_pool,
                         const RowPairs& targets)
    : queries_(queries),
      pool_(pool),
      target_scores_(exact_scores(queries, target_pool, targets)),
      counts_(queries.size()) {}

void HostCounter::count_all(const TileOptions& tiles, const ProgressFn& progress) {
  counts_ = count_pool({queries_, pool_, target_scores_}, tiles, progress);
}

void HostCounter::add_exact(const RowPairs& pairs, int64_t times) {
  const std::vector<double> scores = exact_scores(queries_, pool_, pairs);
  for (size_t i = 0; i < scores.size(); ++i) {
    const int64_t query = pairs.queries[i];
    counts_[query].add(scores[i], target_scores_[query], times);
  }
}

Ranks HostCounter::ranks() const {
  const auto size = std::ssize(counts_);
  Ranks ranks{at::empty(size, at::kLong), at::empty(size, at::kLong)};
  for (int64_t query = 0; query < size; ++query) {
    ranks.greater.mutable_data_ptr<int64_t>()[query] = counts_[query].greater;
    ranks.equal.mutable_data_ptr<int64_t>()[query] = counts_[query].equal;
  }
  return ranks;
}

}  // namespace notellm::internal
