#include "device_count.h"

#include <c10/core/DeviceGuard.h>
#include "tensors.h"

#include <cmath>
#include <limits>

#include "ops/on_kernels.h"

namespace notellm::internal {
namespace {

// Scores above `high` are greater than the target's, scores below `low` are smaller: (2, Q, 1).
template <typename T>
at::Tensor limits_of(const at::Tensor& target_scores, const TileBound& bound, at::ScalarType type) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const int64_t count = target_scores.size(0);
  at::Tensor limits = at::empty({2, count, 1}, type);
  auto* const low = limits.mutable_data_ptr<T>();
  auto* const high = low + count;
  const auto* const score = target_scores.const_data_ptr<double>();
  for (int64_t query = 0; query < count; ++query) {
    low[query] = std::nextafter(static_cast<T>(score[query] - bound(query)), -infinity);
    high[query] = std::nextafter(static_cast<T>(score[query] + bound(query)), infinity);
  }
  return limits;
}

// Adds to `greater` (R) the scores of a tile (R, C) above `high` (R, 1); gives the rows and columns
// of those that are neither above it nor below `low`.
at::Tensor count_composed(const at::Tensor& tile,
                          const at::Tensor& low,
                          const at::Tensor& high,
                          at::Tensor& greater) {
  const at::Tensor is_greater = tile.gt(high);
  greater.add_(is_greater.sum(1));
  return tile.lt(low).logical_or_(is_greater).logical_not_().nonzero();
}

// The same in one pass over the tile; undefined, and nothing is added, where that cannot be done.
at::Tensor count_on_cuda(const at::Tensor& tile,
                         const at::Tensor& low,
                         const at::Tensor& high,
                         at::Tensor& greater) {
  constexpr int64_t kCapacity = 1 << 18;
  const int64_t rows = tile.size(0);
  if (!runs_on_row_loops(tile) || tile.is_cpu() || rows > kernels::kMostTileRows) return {};
  const at::Device device = tile.device();
  const c10::DeviceGuard guard(device);
  const at::Tensor count = at::zeros({1}, greater.options());
  const at::Tensor found = at::zeros_like(greater);
  const at::Tensor open = at::empty({kCapacity, 2}, greater.options().dtype(at::kInt));
  const auto add_all = [&](auto scalar, auto run) {
    using Scalar = decltype(scalar);
    run(kernels::ScoreTile<Scalar>{
        data<Scalar>(tile, device), rows, tile.size(1), data<Scalar>(low, device),
        data<Scalar>(high, device), found.mutable_data_ptr<int64_t>(),
        open.mutable_data_ptr<int32_t>(), count.mutable_data_ptr<int64_t>(), kCapacity});
  };
  if (tile.scalar_type() == at::kDouble)
    add_all(double{}, kernels::cuda_tables()->tiles_f64.count);
  else
    add_all(float{}, kernels::cuda_tables()->tiles_f32.count);
  const auto size = count.item<int64_t>();
  if (size > kCapacity) return {};
  greater.add_(found);
  return open.slice(0, 0, size).to(at::kLong);
}

}  // namespace

DeviceCounter::DeviceCounter(const DeviceVectors& queries,
                             const DeviceVectors& pool,
                             const DeviceVectors& target_pool,
                             const RowPairs& targets)
    : queries_(queries),
      pool_(pool),
      target_scores_(exact_scores(queries, target_pool, to_device(targets, queries.compute))) {
  const TileBound bound = tile_bound(queries, pool);
  const auto type = queries.compute.scalar_type();
  const at::Tensor scores = target_scores_.cpu();
  const at::Tensor limits = (type == at::kDouble ? limits_of<double>(scores, bound, type)
                                                 : limits_of<float>(scores, bound, type))
                                .to(queries.compute.device());
  low_ = limits.select(0, 0);
  high_ = limits.select(0, 1);
  greater_ = at::zeros(queries.size(), queries.indices());
  equal_ = at::zeros_like(greater_);
}

void DeviceCounter::count_all(const TileOptions& tiles, const ProgressFn& progress) {
  for_each_tile(queries_.size(), pool_.size(), device_tiles(tiles), progress,
                [&](int64_t q0, int64_t q1, int64_t n0, int64_t n1) { add_tile(q0, q1, n0, n1); });
}

// What is neither greater nor smaller for sure (NaN, too, from an overflow) is computed exactly.
void DeviceCounter::add_tile(int64_t q0, int64_t q1, int64_t n0, int64_t n1) {
  const at::Tensor tile = score_tile(queries_, q0, q1, pool_, n0, n1);
  const at::Tensor low = low_.slice(0, q0, q1), high = high_.slice(0, q0, q1);
  at::Tensor greater = greater_.slice(0, q0, q1);
  at::Tensor open = count_on_cuda(tile, low, high, greater);  // (M, 2); waits for the device
  if (!open.defined()) open = count_composed(tile, low, high, greater);
  add_scores({open.select(1, 0) + q0, open.select(1, 1) + n0}, 1);
}

void DeviceCounter::add_exact(const RowPairs& pairs, int64_t times) {
  add_scores(to_device(pairs, queries_.compute), times);
}

void DeviceCounter::add_scores(const DevicePairs& pairs, int64_t times) {
  const at::Tensor scores = exact_scores(queries_, pool_, pairs);
  const at::Tensor targets = target_scores_.index_select(0, pairs.queries);
  greater_.index_add_(0, pairs.queries, scores.gt(targets).to(at::kLong), times);
  equal_.index_add_(0, pairs.queries, scores.eq(targets).to(at::kLong), times);
}

}  // namespace notellm::internal
