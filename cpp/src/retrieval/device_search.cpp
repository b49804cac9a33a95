#include "device_search.h"

#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include "tensors.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace notellm::internal {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kMostCandidates = 1 << 25;  // of all queries that are searched for at once
constexpr int64_t kSpare = 64;                // candidates beyond those that are asked for

// (R, C): whether a candidate is in the same row of `lists` (R, E), which are ascending.
at::Tensor is_listed(const at::Tensor& candidates, const at::Tensor& lists) {
  const int64_t width = lists.size(1);
  if (width == 0) return at::zeros_like(candidates, candidates.options().dtype(at::kBool));
  const at::Tensor place = at::searchsorted(lists, candidates).clamp_max_(width - 1);
  return lists.gather(1, place).eq(candidates);
}

// The k best of candidates (R, C) of the queries `rows` (R), without those that they leave out.
// @param left_out  (R, E) int64, ascending rows.
Neighbours best_of(const DeviceVectors& queries,
                   const at::Tensor& rows,
                   const DeviceVectors& pool,
                   const at::Tensor& candidates,
                   const at::Tensor& left_out,
                   int64_t k) {
  const int64_t count = candidates.size(0), width = candidates.size(1);
  const at::Tensor notes = std::get<0>(candidates.sort(1));
  at::Tensor is_gone = is_listed(notes, left_out).logical_or_(notes.lt(0));
  if (width > 1)
    is_gone.slice(1, 1).logical_or_(notes.slice(1, 1).eq(notes.slice(1, 0, width - 1)));
  const at::Tensor query = rows.unsqueeze(1).expand({count, width}).reshape(-1);
  const at::Tensor scores =
      exact_scores(queries, pool, {query, notes.clamp_min(0).reshape(-1)}).view({count, width});
  // Stable: of equal scores the first note stays first.
  const auto [sorted, order] = scores.masked_fill(is_gone, -kInfinity).sort(true, 1, true);
  const at::Tensor found = notes.masked_fill(is_gone, -1).gather(1, order);
  const int64_t pad = std::max<int64_t>(0, k - width);
  return {at::constant_pad_nd(sorted.slice(1, 0, k), {0, pad}, -kInfinity),
          at::constant_pad_nd(found.slice(1, 0, k), {0, pad}, -1)};
}

// The exact search, for some queries at a time.
class DeviceSearch {
 public:
  DeviceSearch(const DeviceVectors& queries,
               const DeviceVectors& pool,
               const Exclusions& exclusions,
               int64_t k,
               const TileOptions& tiles)
      : queries_(queries),
        pool_(pool),
        left_out_(exclusions.lists().to(queries.compute.device())),
        k_(k),
        keep_(std::min(pool.size(), k + left_out_.size(1))),
        tiles_(device_tiles(tiles)) {
    const TileBound bound = tile_bound(queries, pool);
    std::vector<double> bounds;
    for (int64_t query = 0; query < queries.size(); ++query) bounds.push_back(bound(query));
    bound_ = at::tensor(bounds, at::kDouble).to(queries.compute.device());
  }

  Neighbours all(const ProgressFn& progress) {
    const int64_t Q = queries_.size(), N = pool_.size();
    result_ = {at::full({Q, k_}, -kInfinity, queries_.norms.options()),
               at::full({Q, k_}, -1, queries_.indices())};
    const int64_t capacity = std::min(N, 2 * keep_ + kSpare);
    const at::Tensor rows = at::arange(Q, queries_.indices());
    const int64_t at_once = queries_at_once(capacity);
    for (int64_t q0 = 0; q0 < Q && N > 0; q0 += at_once) {
      const int64_t q1 = std::min(Q, q0 + at_once);
      const auto in_all = [&](int64_t done, int64_t) {
        report_progress(progress, q0 * N + (q1 - q0) * done, Q * N);
        return true;
      };
      search(rows.slice(0, q0, q1), capacity, in_all);
    }
    report_progress(progress, Q * N, Q * N);
    return {result_.scores.cpu(), result_.indices.cpu()};
  }

 private:
  int64_t queries_at_once(int64_t capacity) const {
    return std::clamp<int64_t>(kMostCandidates / std::max<int64_t>(1, capacity), 1, tiles_.queries);
  }

  // Finds the neighbours of the queries `rows`. Where `capacity` candidates do not suffice, since
  // too many scores are about equal, it searches again, with more.
  void search(const at::Tensor& rows, int64_t capacity, const ProgressFn& progress) {
    const auto [scores, notes] = best_by_tiles(rows, capacity, progress);
    const at::Tensor is_complete = holds_the_best(rows, scores);
    const auto put = [&](at::Tensor& all, const at::Tensor& found) {
      all.index_copy_(0, rows, found);
    };
    const Neighbours best =
        best_of(queries_, rows, pool_, notes, left_out_.index_select(0, rows), k_);
    put(result_.scores, best.scores);
    put(result_.indices, best.indices);
    const at::Tensor again = rows.masked_select(is_complete.logical_not());
    const int64_t more = std::min(pool_.size(), 8 * capacity), at_once = queries_at_once(more);
    for (int64_t i = 0; i < again.size(0); i += at_once)
      search(again.slice(0, i, std::min(again.size(0), i + at_once)), more, {});
  }

  // The `capacity` notes with the best tile scores, best first: (R, capacity) each.
  std::pair<at::Tensor, at::Tensor> best_by_tiles(const at::Tensor& rows,
                                                  int64_t capacity,
                                                  const ProgressFn& progress) const {
    const at::Tensor own = queries_.compute.index_select(0, rows);
    at::Tensor scores, notes;
    for (int64_t n0 = 0; n0 < pool_.size(); n0 += tiles_.pool) {
      report_progress(progress, n0, pool_.size());
      const int64_t n1 = std::min(pool_.size(), n0 + tiles_.pool);
      const at::Tensor tile = at::mm(own, pool_.compute.slice(0, n0, n1).t());
      auto [best, place] = tile.topk(std::min(capacity, n1 - n0), 1);
      place.add_(n0);
      if (scores.defined()) {
        best = at::cat({scores, best}, 1);
        place = at::cat({notes, place}, 1);
      }
      std::tie(scores, notes) = best.topk(std::min(capacity, best.size(1)), 1);
      notes = place.gather(1, notes);
    }
    return {scores, notes};
  }

  // (R): whether no note that was dropped can be among the best. A tile score is off by at most the
  // bound, so a note with one below the keep-th best by more than two bounds is not.
  at::Tensor holds_the_best(const at::Tensor& rows, const at::Tensor& scores) const {
    if (scores.size(1) == pool_.size()) return at::ones_like(rows, rows.options().dtype(at::kBool));
    const at::Tensor floor = scores.select(1, keep_ - 1) - bound_.index_select(0, rows) * 2;
    return scores.select(1, scores.size(1) - 1).lt(floor);
  }

  const DeviceVectors& queries_;
  const DeviceVectors& pool_;
  at::Tensor left_out_;  // (Q, E)
  int64_t k_, keep_;
  TileOptions tiles_;
  at::Tensor bound_;  // (Q) fp64
  Neighbours result_;
};

}  // namespace

Neighbours search_on_device(const DeviceVectors& queries,
                            const DeviceVectors& pool,
                            const Exclusions& exclusions,
                            int64_t k,
                            const TileOptions& tiles,
                            const ProgressFn& progress) {
  return DeviceSearch(queries, pool, exclusions, k, tiles).all(progress);
}

Neighbours best_on_device(const DeviceVectors& queries,
                          const DeviceVectors& pool,
                          const at::Tensor& candidates,
                          int64_t k) {
  const int64_t Q = queries.size();
  const at::Tensor none = at::empty({Q, 0}, queries.indices());
  const at::Tensor rows = at::arange(Q, queries.indices());
  const Neighbours best = best_of(queries, rows, pool, candidates, none, k);
  return {best.scores.cpu(), best.indices.cpu()};
}

}  // namespace notellm::internal
