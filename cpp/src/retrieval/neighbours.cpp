#include "notellm/retrieval/neighbours.h"

#include <ATen/Parallel.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "best_first.h"
#include "vectors.h"

namespace notellm {
namespace {

using internal::Exclusions;
using internal::TileBound;
using internal::Vectors;

constexpr const char* kWhere = "neighbours";
constexpr int64_t kFirstCapacity = 512;

// The notes that may be among the `keep` best of one query, by their tile scores.
//
// A tile score is off by at most `bound`. So the keep-th best exact score is at least the keep-th
// best tile score minus the bound. A note with this exact score or more has a tile score of at
// least the keep-th best tile score minus twice the bound: notes below this floor are dropped.
//
// If too many notes are left above it (equal ones, or scores that overflow), they are scored
// exactly and only the `keep` best stay. Notes come in ascending order, so the first of equal ones
// stay. Memory is O(keep), whatever the scores.
class Candidates {
 public:
  Candidates(int64_t keep, double bound)
      : keep_(keep), bound_(bound), capacity_(std::max(kFirstCapacity, 2 * keep + 2)) {}

  // `exact(note)` is the query's score by definition.
  template <typename T, typename Exact>
  void add(std::span<const T> scores, int64_t first_note, const Exact& exact) {
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] < floor_) continue;
      candidates_.push_back({scores[i], first_note + static_cast<int64_t>(i)});
      if (std::ssize(candidates_) < capacity_) continue;
      prune();
      if (2 * std::ssize(candidates_) > capacity_) settle(exact);
    }
  }

  std::vector<int64_t> notes() {
    prune();
    std::vector<int64_t> notes;
    for (const auto& entry : candidates_) notes.push_back(entry.second);
    return notes;
  }

 private:
  void prune() {
    if (std::isfinite(bound_) && std::ssize(candidates_) > keep_) {
      std::nth_element(candidates_.begin(), candidates_.begin() + keep_ - 1, candidates_.end(),
                       [](const auto& a, const auto& b) { return a.first > b.first; });
      floor_ = std::max(floor_, candidates_[keep_ - 1].first - 2 * bound_);
      std::erase_if(candidates_, [&](const auto& entry) { return entry.first < floor_; });
    }
  }

  // Exact scores in place of the tiles', of the best alone.
  template <typename Exact>
  void settle(const Exact& exact) {
    for (auto& [score, note] : candidates_) score = exact(note);
    std::nth_element(candidates_.begin(), candidates_.begin() + keep_ - 1, candidates_.end(),
                     [](const auto& a, const auto& b) {
                       return a.first != b.first ? a.first > b.first : a.second < b.second;
                     });
    candidates_.resize(keep_);
    floor_ = std::max(floor_, candidates_.back().first - bound_);
  }

  int64_t keep_;
  double bound_;
  int64_t capacity_;
  double floor_ = -std::numeric_limits<double>::infinity();
  std::vector<std::pair<double, int64_t>> candidates_;  // tile score, note
};

// The neighbours of the queries [q0, q1), one pool tile after another.
class QueryBlock {
 public:
  QueryBlock(const Vectors& queries,
             const Vectors& pool,
             const Exclusions& exclusions,
             const TileBound& bound,
             int64_t q0,
             int64_t q1,
             int64_t k)
      : queries_(queries), pool_(pool), exclusions_(exclusions), q0_(q0), q1_(q1) {
    for (int64_t query = q0; query < q1; ++query) {
      candidates_.emplace_back(k + std::ssize(exclusions.of(query)), bound(query));
    }
  }

  void add_tile(int64_t n0, int64_t n1) {
    const at::Tensor tile = internal::score_tile(queries_, q0_, q1_, pool_, n0, n1);
    AT_DISPATCH_FLOATING_TYPES(tile.scalar_type(), kWhere, [&] {
      const auto* const scores = tile.const_data_ptr<scalar_t>();
      const int64_t width = n1 - n0;
      at::parallel_for(0, q1_ - q0_, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const auto exact = [&](int64_t note) {
            return internal::exact_score(queries_, q0_ + row, pool_, note);
          };
          candidates_[row].add(std::span<const scalar_t>(scores + row * width, width), n0, exact);
        }
      });
    });
  }

  void write(Neighbours& result) {
    at::parallel_for(0, q1_ - q0_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t query = q0_ + row;
        internal::write_best(queries_, query, pool_, candidates_[row].notes(), exclusions_, result);
      }
    });
  }

 private:
  const Vectors& queries_;
  const Vectors& pool_;
  const Exclusions& exclusions_;
  int64_t q0_, q1_;
  std::vector<Candidates> candidates_;
};

}  // namespace

Neighbours nearest_neighbours(const at::Tensor& query_rows,
                              const at::Tensor& pool_rows,
                              int64_t k,
                              const at::Tensor& exclude,
                              const TileOptions& tiles,
                              const ProgressFn& progress) {
  internal::check_tiles(kWhere, tiles);
  const Vectors queries = internal::to_vectors(kWhere, "queries", query_rows);
  const Vectors pool = internal::to_vectors(kWhere, "pool", pool_rows);
  internal::check_same_kind(kWhere, queries, pool);
  const int64_t Q = queries.size(), N = pool.size();
  const Exclusions exclusions(kWhere, exclude, Q, N);
  Neighbours result = internal::no_neighbours(kWhere, Q, k);
  const TileBound bound(queries, pool);

  std::optional<QueryBlock> block;  // the block being computed
  const auto visit = [&](int64_t q0, int64_t q1, int64_t n0, int64_t n1) {
    if (n0 == 0) block.emplace(queries, pool, exclusions, bound, q0, q1, k);
    block->add_tile(n0, n1);
    if (n1 == N) block->write(result);
  };
  internal::for_each_tile(Q, N, tiles, progress, visit);
  return result;
}

}  // namespace notellm
