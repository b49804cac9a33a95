#include "notellm/retrieval/neighbours.h"

#include <ATen/Parallel.h>
#include "tensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "best_first.h"
#include "bf16_filter.h"
#include "device_search.h"
#include "notellm/kernels/table.h"
#include "vectors.h"

namespace notellm {
namespace {

using internal::Exclusions;
using internal::TileBound;
using internal::Vectors;

constexpr const char* kWhere = "neighbours";
constexpr int64_t kFirstCapacity = 512;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

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
      : keep_(keep), bound_(bound), capacity_(capacity_for(keep)) {}

  // What they take at most, of a pool of N notes. A vector that grows doubles.
  static int64_t bytes(int64_t keep, int64_t N) {
    const int64_t most = std::clamp<int64_t>(capacity_for(keep), 1, std::max<int64_t>(N, 1));
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(most)) * sizeof(Candidate));
  }

  // `exact(note)` is the query's score by definition.
  template <typename Exact>
  void add(double score, int64_t note, const Exact& exact) {
    if (score < floor_) return;
    candidates_.push_back({score, note});
    if (std::ssize(candidates_) < capacity_) return;
    prune();
    if (2 * std::ssize(candidates_) > capacity_) settle(exact);
  }

  // Notes with a lower tile score are dropped.
  double floor() const { return floor_; }

  void append_notes(std::vector<int64_t>& notes) {
    prune();
    for (const auto& entry : candidates_) notes.push_back(entry.second);
  }

 private:
  using Candidate = std::pair<double, int64_t>;  // tile score, note

  static int64_t capacity_for(int64_t keep) { return std::max(kFirstCapacity, 2 * keep + 2); }

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
  double floor_ = -kInfinity;
  std::vector<Candidate> candidates_;
};

// What is searched for: the k best notes of each query.
struct Search {
  const Vectors& queries;
  const Vectors& pool;
  const Exclusions& exclusions;
  int64_t k;

  // How many candidates of a query are kept: excluded ones may be among them.
  int64_t keep(int64_t query) const { return k + std::ssize(exclusions.of(query)); }
  int64_t most_kept() const {
    int64_t most = k;
    for (int64_t query = 0; query < queries.size(); ++query) most = std::max(most, keep(query));
    return most;
  }
  double exact(int64_t query, int64_t note) const {
    return internal::exact_score(queries, query, pool, note);
  }
};

// The neighbours of the queries [q0, q1), one pool tile after another.
class QueryBlock {
 public:
  QueryBlock(const Search& search, const TileBound& bound, int64_t q0, int64_t q1)
      : search_(search), q0_(q0), q1_(q1) {
    for (int64_t query = q0; query < q1; ++query) {
      candidates_.emplace_back(search.keep(query), bound(query));
    }
  }

  void add_tile(int64_t n0, int64_t n1) {
    const at::Tensor tile = internal::score_tile(search_.queries, q0_, q1_, search_.pool, n0, n1);
    AT_DISPATCH_FLOATING_TYPES(tile.scalar_type(), kWhere, [&] {
      const auto* const scores = tile.const_data_ptr<scalar_t>();
      const int64_t width = n1 - n0;
      at::parallel_for(0, q1_ - q0_, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          add_row(std::span(scores + row * width, width), row, n0);
        }
      });
    });
  }

  void write(Neighbours& result) {
    at::parallel_for(0, q1_ - q0_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        std::vector<int64_t> notes;
        candidates_[row].append_notes(notes);
        internal::write_best(search_.queries, q0_ + row, search_.pool, notes, search_.exclusions,
                             result);
      }
    });
  }

 private:
  template <typename T>
  void add_row(std::span<const T> scores, int64_t row, int64_t n0) {
    Candidates& candidates = candidates_[row];
    const auto exact = [&](int64_t note) { return search_.exact(q0_ + row, note); };
    // The next score that is not surely below the floor, which in T might be rounded upwards.
    const auto next = [&](int64_t i) {
      const T floor =
          std::nextafter(static_cast<T>(candidates.floor()), -std::numeric_limits<T>::infinity());
      const int64_t rest = std::ssize(scores) - i;
      return i + kernels::tables().of<T>().first_not_below(scores.data() + i, rest, floor);
    };
    for (int64_t i = next(0); i < std::ssize(scores); i = next(i + 1)) {
      candidates.add(scores[i], n0 + i, exact);
    }
  }

  const Search& search_;
  int64_t q0_, q1_;
  std::vector<Candidates> candidates_;
};

// The search by products of bf16 tiles: one thread's part. The fine scores are its tile scores.
class NeighbourFilter : public internal::GroupFilter {
 public:
  NeighbourFilter(const internal::QueryGroup& group,
                  const internal::Bf16Bounds& bounds,
                  const Search& search)
      : GroupFilter(group, bounds), search_(search) {
    for (int64_t query = group.first; query < group.first + group.count; ++query) {
      candidates_.emplace_back(search.keep(query), fine_bound(query));
      raise(query);
    }
  }

  int64_t first() const { return group().first; }
  int64_t count() const { return group().count; }
  void append_notes(int64_t query, std::vector<int64_t>& notes) {
    candidates_[query - group().first].append_notes(notes);
  }

 private:
  void open(int64_t query, int64_t note, float score) override {
    Candidates& candidates = candidates_[query - group().first];
    const double floor = candidates.floor();
    candidates.add(score, note, [&](int64_t other) { return search_.exact(query, other); });
    if (candidates.floor() > floor) raise(query);
  }

  // Only notes that may come up to the floor are of interest.
  void raise(int64_t query) {
    const double floor = candidates_[query - group().first].floor();
    compare_with(query, floor + fine_bound(query), kInfinity);
  }

  const Search& search_;
  std::vector<Candidates> candidates_;  // (group)
};

void search_by_products(const Search& search,
                        const TileOptions& tiles,
                        const ProgressFn& progress,
                        Neighbours& result) {
  const TileBound bound(
      search.queries, search.pool,
      internal::tile_products(search.queries.host.scalar_type(), search.queries.width()));
  std::optional<QueryBlock> block;  // the block being computed
  const auto visit = [&](int64_t q0, int64_t q1, int64_t n0, int64_t n1) {
    if (n0 == 0) block.emplace(search, bound, q0, q1);
    block->add_tile(n0, n1);
    if (n1 == search.pool.size()) block->write(result);
  };
  internal::for_each_tile(search.queries.size(), search.pool.size(), internal::product_tiles(tiles),
                          progress, visit);
}

void search_by_filter(const Search& search,
                      const TileOptions& wanted,
                      const ProgressFn& progress,
                      Neighbours& result) {
  // Each thread has candidates of its own for every query of a group.
  const int64_t kept_bytes =
      at::get_num_threads() * Candidates::bytes(search.most_kept(), search.pool.size());
  const TileOptions tiles = internal::filter_tiles(wanted, search.queries.width(), kept_bytes);
  const internal::Bf16Bounds bounds(search.queries, search.pool);
  const auto write = [&](std::vector<NeighbourFilter>& filters) {
    const int64_t first = filters.front().first();
    at::parallel_for(0, filters.front().count(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t query = first + begin; query < first + end; ++query) {
        std::vector<int64_t> notes;
        for (NeighbourFilter& filter : filters) filter.append_notes(query, notes);
        internal::write_best(search.queries, query, search.pool, notes, search.exclusions, result);
      }
    });
  };
  internal::filter_all<NeighbourFilter>(
      search.queries, search.pool, tiles, progress,
      [&](const internal::QueryGroup& group) { return NeighbourFilter(group, bounds, search); },
      write);
}

}  // namespace

Neighbours nearest_neighbours(const at::Tensor& query_rows,
                              const at::Tensor& pool_rows,
                              int64_t k,
                              const at::Tensor& exclude,
                              const TileOptions& tiles,
                              const ProgressFn& progress) {
  internal::check_tiles(kWhere, tiles);
  internal::check_k(kWhere, k);
  if (internal::stays_on_device(tiles, pool_rows)) {
    const auto queries = internal::to_device_vectors(kWhere, "queries", query_rows);
    const auto pool = internal::to_device_vectors(kWhere, "pool", pool_rows);
    internal::check_same_kind(kWhere, queries.compute, pool.compute);
    const Exclusions exclusions(kWhere, exclude, queries.size(), pool.size());
    return internal::search_on_device(queries, pool, exclusions, k, tiles, progress);
  }
  const Vectors queries = internal::to_vectors(kWhere, "queries", query_rows);
  const Vectors pool = internal::to_vectors(kWhere, "pool", pool_rows);
  internal::check_same_kind(kWhere, queries.compute, pool.compute);
  const int64_t Q = queries.size(), N = pool.size();
  const Exclusions exclusions(kWhere, exclude, Q, N);
  Neighbours result = internal::no_neighbours(Q, k);
  const Search search{queries, pool, exclusions, k};
  if (internal::has_bf16_filter(queries)) {
    search_by_filter(search, tiles, progress, result);
  } else {
    search_by_products(search, tiles, progress, result);
  }
  return result;
}

}  // namespace notellm
