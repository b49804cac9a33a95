#include "device_vectors.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include "notellm/ops/dtypes.h"
#include "ops/tensor_checks.h"
#include "tensors.h"

#include <algorithm>

namespace notellm::internal {
namespace {

constexpr int64_t kLanes = 4;                    // sums of a score, as on the host
constexpr int64_t kProductsAtOnce = 16'000'000;  // in fp64: 128 MB

// (M) the sums of the rows of (M, d) products, in the order in which the host adds them.
at::Tensor sums_of_rows(const at::Tensor& products) {
  const int64_t width = products.size(1), whole = width / kLanes * kLanes;
  at::Tensor lanes = at::zeros({products.size(0), kLanes}, products.options());
  for (int64_t i = 0; i < whole; i += kLanes) lanes.add_(products.slice(1, i, i + kLanes));
  if (whole < width) lanes.slice(1, 0, width - whole).add_(products.slice(1, whole));
  const auto lane = [&](int64_t which) { return lanes.select(1, which); };
  return (lane(0) + lane(1)) + (lane(2) + lane(3));
}

at::Tensor scores_at_once(const DeviceVectors& queries,
                          const DeviceVectors& pool,
                          const at::Tensor& query,
                          const at::Tensor& note) {
  const auto factors = queries.compute.index_select(0, query).to(at::kDouble);
  return sums_of_rows(factors * pool.compute.index_select(0, note));
}

}  // namespace

bool stays_on_device(const TileOptions& tiles, const at::Tensor& vectors) {
  return tiles.on_device.value_or(vectors.defined() && !vectors.is_cpu());
}

DeviceVectors to_device_vectors(std::string_view where,
                                std::string_view name,
                                const at::Tensor& tensor) {
  check_floating(where, name, tensor, {kAny, kAny});
  const auto dtype = wide_dtype(tensor.scalar_type());
  DeviceVectors vectors{tensor.detach().to(dtype).contiguous(), {}};
  vectors.norms = at::linalg_vector_norm(vectors.compute, 2, {1}, false, at::kDouble);
  const at::Tensor is_finite = at::isfinite(vectors.norms);
  if (!is_finite.all().item<bool>()) {
    const auto row = is_finite.logical_not().nonzero()[0].item<int64_t>();
    require(false, where, name, " must be finite, but row ", row,
            " is not (or its norm is above 1e154)");
  }
  return vectors;
}

DeviceVectors DeviceVectors::take(std::span<const int64_t> rows) const {
  const at::Tensor index =
      at::tensor(at::IntArrayRef(rows.data(), rows.size()), at::kLong).to(compute.device());
  return {compute.index_select(0, index), norms.index_select(0, index)};
}

DevicePairs to_device(const RowPairs& pairs, const at::Tensor& vectors) {
  const auto moved = [&](const std::vector<int64_t>& rows) {
    return at::tensor(rows, at::kLong).to(vectors.device());
  };
  return {moved(pairs.queries), moved(pairs.notes)};
}

at::Tensor exact_scores(const DeviceVectors& queries,
                        const DeviceVectors& pool,
                        const DevicePairs& pairs) {
  const int64_t count = pairs.queries.size(0);
  const int64_t at_once =
      std::max<int64_t>(1, kProductsAtOnce / std::max<int64_t>(1, pool.width()));
  at::Tensor scores = at::empty(count, queries.norms.options());
  for (int64_t i = 0; i < count; i += at_once) {
    const int64_t end = std::min(count, i + at_once);
    scores.slice(0, i, end).copy_(scores_at_once(queries, pool, pairs.queries.slice(0, i, end),
                                                 pairs.notes.slice(0, i, end)));
  }
  return scores;
}

TileBound tile_bound(const DeviceVectors& queries, const DeviceVectors& pool) {
  const double longest = pool.size() > 0 ? pool.norms.max().item<double>() : 0.0;
  const auto dtype = queries.compute.scalar_type();
  return {queries.norms.cpu(), longest, queries.width(), dtype,
          tile_products(dtype, queries.width())};
}

at::Tensor score_tile(const DeviceVectors& queries,
                      int64_t q0,
                      int64_t q1,
                      const DeviceVectors& pool,
                      int64_t n0,
                      int64_t n1) {
  return at::mm(queries.compute.slice(0, q0, q1), pool.compute.slice(0, n0, n1).t());
}

TileOptions device_tiles(const TileOptions& tiles) {
  return {tiles.queries > 0 ? tiles.queries : 2048, tiles.pool > 0 ? tiles.pool : 65'536,
          tiles.on_device};
}

}  // namespace notellm::internal
