#include "notellm/retrieval/rank.h"

#include "tensors.h"

#include <string>
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

// The targets that there are, query by query, checked. Of several targets -1 is none, and a message
// names the column, too.
//
// @param targets  (Q) or (Q, T), contiguous on the CPU.
RowPairs checked_targets(const at::Tensor& targets, const Exclusions& exclusions, int64_t pool) {
  const bool are_several = targets.dim() == 2;
  const int64_t queries = targets.size(0), columns = are_several ? targets.size(1) : 1;
  const auto* const notes = targets.const_data_ptr<int64_t>();
  RowPairs pairs;
  for (int64_t query = 0; query < queries; ++query) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t target = notes[query * columns + column];
      if (are_several && target == -1) continue;
      const std::string place = are_several ? " in column " + std::to_string(column) : "";
      require(target >= 0 && target < pool, kWhere, "targets must be in [0, ", pool,
              are_several ? ") or -1" : ")", ", but that of query ", query, place, " is ", target);
      require(!exclusions.contains(query, target), kWhere, "the target of query ", query, place,
              " must not be excluded, but note ", target, " is");
      pairs.queries.push_back(query);
      pairs.notes.push_back(target);
    }
  }
  return pairs;
}

// One target for each query.
template <typename Counter>
Ranks ranks_of_targets(const typename Counter::Rows& queries,
                       const typename Counter::Rows& pool,
                       const RowPairs& targets,
                       const Exclusions& exclusions,
                       const TileOptions& tiles,
                       const ProgressFn& progress) {
  Counter counter(queries, pool, pool, targets);
  counter.count_all(tiles, progress);
  counter.add_exact(exclusions.pairs(), -1);
  counter.add_exact(targets, -1);
  return counter.ranks();
}

// All is checked before several targets of a query become those of as many equal queries, so that
// messages name the caller's.
template <typename Counter>
Ranks ranks_by(const at::Tensor& query_rows,
               const at::Tensor& pool_rows,
               const at::Tensor& targets,
               const at::Tensor& exclude,
               const TileOptions& tiles,
               const ProgressFn& progress) {
  const auto pool = Counter::rows(kWhere, "pool", pool_rows);
  const auto queries = Counter::rows(kWhere, "queries", query_rows);
  internal::check_same_kind(kWhere, queries.compute, pool.compute);
  const Exclusions exclusions(kWhere, exclude, queries.size(), pool.size());
  if (targets.dim() == 2)
    internal::check_tensor(kWhere, "targets", targets, {queries.size(), internal::kAny}, at::kLong);
  else
    internal::check_tensor(kWhere, "targets", targets, {queries.size()}, at::kLong);
  const at::Tensor host = targets.detach().cpu().contiguous();
  const RowPairs own = checked_targets(host, exclusions, pool.size());
  if (host.dim() == 1)
    return ranks_of_targets<Counter>(queries, pool, own, exclusions, tiles, progress);
  RowPairs each = RowPairs::one_each(std::ssize(own.notes));
  each.notes = own.notes;
  const auto [greater, equal] = ranks_of_targets<Counter>(
      queries.take(own.queries), pool, each, exclusions.take(own.queries), tiles, progress);
  const auto in_place = [&](const at::Tensor& counts) {
    return at::full_like(host, -1).masked_scatter_(host.ne(-1), counts);
  };
  return {in_place(greater), in_place(equal)};
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
