#include "notellm/retrieval/rank.h"

#include "tensors.h"

#include <numeric>
#include <vector>

#include "device_count.h"
#include "host_count.h"
#include "ops/tensor_checks.h"
#include "vectors.h"

// What is asked and what is left out. Counting itself is done by a HostCounter or a DeviceCounter.
namespace notellm {
namespace {

using internal::DeviceCounter;
using internal::Exclusions;
using internal::HostCounter;
using internal::require;
using internal::RowPairs;

constexpr const char* kWhere = "target_ranks";
constexpr const char* kPartWhere = "ranks_in_part";

// The target of each query, checked.
RowPairs checked_targets(const at::Tensor& targets,
                         const Exclusions& exclusions,
                         int64_t queries,
                         int64_t pool) {
  internal::check_tensor(kWhere, "targets", targets, {queries}, at::kLong);
  const at::Tensor host = targets.detach().cpu().contiguous();
  RowPairs pairs = RowPairs::one_each(queries);
  for (int64_t query = 0; query < queries; ++query) {
    const int64_t target = host.const_data_ptr<int64_t>()[query];
    require(target >= 0 && target < pool, kWhere, "targets must be in [0, ", pool,
            "), but that of query ", query, " is ", target);
    require(!exclusions.contains(query, target), kWhere, "the target of query ", query,
            " must not be excluded, but note ", target, " is");
    pairs.notes[query] = target;
  }
  return pairs;
}

// One target for each query.
template <typename Counter>
Ranks ranks_of_targets(const at::Tensor& query_rows,
                       const typename Counter::Rows& pool,
                       const at::Tensor& targets,
                       const at::Tensor& exclude,
                       const TileOptions& tiles,
                       const ProgressFn& progress) {
  const auto queries = Counter::rows(kWhere, "queries", query_rows);
  internal::check_same_kind(kWhere, queries.compute, pool.compute);
  const Exclusions exclusions(kWhere, exclude, queries.size(), pool.size());
  const RowPairs own = checked_targets(targets, exclusions, queries.size(), pool.size());
  Counter counter(queries, pool, pool, own);
  counter.count_all(tiles, progress);
  counter.add_exact(exclusions.pairs(), -1);
  counter.add_exact(own, -1);
  return counter.ranks();
}

// Several targets of a query are those of as many equal queries.
template <typename Counter>
Ranks ranks_of_several(const at::Tensor& queries,
                       const typename Counter::Rows& pool,
                       const at::Tensor& targets,
                       const at::Tensor& exclude,
                       const TileOptions& tiles,
                       const ProgressFn& progress) {
  internal::check_floating(kWhere, "queries", queries, {internal::kAny, internal::kAny});
  const int64_t Q = queries.size(0);
  internal::check_tensor(kWhere, "targets", targets, {Q, internal::kAny}, at::kLong);
  const Exclusions checked(kWhere, exclude, Q, pool.size());  // so that a message names its query
  const at::Tensor host = targets.detach().cpu();
  const at::Tensor is_there = host.ne(-1);
  const at::Tensor query = is_there.nonzero().select(1, 0);
  const at::Tensor its_exclude =
      exclude.defined() ? exclude.index_select(0, query.to(exclude.device())) : at::Tensor();
  const Ranks found =
      ranks_of_targets<Counter>(queries.index_select(0, query.to(queries.device())), pool,
                                host.masked_select(is_there), its_exclude, tiles, progress);
  const auto in_place = [&](const at::Tensor& counts) {
    return at::full_like(host, -1).masked_scatter_(is_there, counts);
  };
  return {in_place(found.greater), in_place(found.equal)};
}

template <typename Counter>
Ranks ranks_by(const at::Tensor& queries,
               const at::Tensor& pool_rows,
               const at::Tensor& targets,
               const at::Tensor& exclude,
               const TileOptions& tiles,
               const ProgressFn& progress) {
  const auto pool = Counter::rows(kWhere, "pool", pool_rows);
  const auto ranks = targets.dim() == 2 ? ranks_of_several<Counter> : ranks_of_targets<Counter>;
  return ranks(queries, pool, targets, exclude, tiles, progress);
}

template <typename Counter>
Ranks part_ranks_by(const at::Tensor& query_rows,
                    const at::Tensor& target_rows,
                    const at::Tensor& part_rows,
                    const at::Tensor& exclude,
                    const TileOptions& tiles,
                    const ProgressFn& progress) {
  const auto queries = Counter::rows(kPartWhere, "queries", query_rows);
  const auto targets = Counter::rows(kPartWhere, "targets", target_rows);
  const auto part = Counter::rows(kPartWhere, "part", part_rows);
  internal::check_same_kind(kPartWhere, queries.compute, part.compute);
  internal::check_same_kind(kPartWhere, queries.compute, targets.compute);
  require(targets.size() == queries.size(), kPartWhere, "targets must have a row for each of the ",
          queries.size(), " queries, but have ", targets.size());
  const Exclusions exclusions(kPartWhere, exclude, queries.size(), part.size());
  Counter counter(queries, part, targets, RowPairs::one_each(queries.size()));
  counter.count_all(tiles, progress);
  counter.add_exact(exclusions.pairs(), -1);
  return counter.ranks();
}

}  // namespace

Ranks target_ranks(const at::Tensor& queries,
                   const at::Tensor& pool,
                   const at::Tensor& targets,
                   const at::Tensor& exclude,
                   const TileOptions& tiles,
                   const ProgressFn& progress) {
  internal::check_tiles(kWhere, tiles);
  const bool stays = internal::stays_on_device(tiles, pool);
  const auto ranks = stays ? ranks_by<DeviceCounter> : ranks_by<HostCounter>;
  return ranks(queries, pool, targets, exclude, tiles, progress);
}

Ranks ranks_in_part(const at::Tensor& queries,
                    const at::Tensor& targets,
                    const at::Tensor& part,
                    const at::Tensor& exclude,
                    const TileOptions& tiles,
                    const ProgressFn& progress) {
  internal::check_tiles(kPartWhere, tiles);
  const bool stays = internal::stays_on_device(tiles, part);
  const auto ranks = stays ? part_ranks_by<DeviceCounter> : part_ranks_by<HostCounter>;
  return ranks(queries, targets, part, exclude, tiles, progress);
}

}  // namespace notellm
