#include "vectors.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include "notellm/ops/dtypes.h"
#include "notellm/ops/matmul.h"
#include "ops/tensor_checks.h"
#include "tensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <type_traits>

namespace notellm::internal {
namespace {

constexpr double kMostInBf16 = 0x1.FEp127;  // about 3.39e38; fp32 has numbers beyond it

// The precision to which fp32 matrix products may round their factors, on a GPU and on a CPU, as
// set by torch.set_float32_matmul_precision: "none", "ieee", "tf32" or "bf16". torch 2.9 returns it
// as text, later versions as an enumeration.
template <typename Precision, typename Backend, typename Operation>
std::array<std::string, 2> precisions(Precision (at::Context::*of)(Backend, Operation) const) {
  const at::Context& context = at::globalContext();
  if constexpr (std::is_enum_v<Backend>) {
    return {precision2str((context.*of)(Backend::CUDA, Operation::MATMUL)),
            precision2str((context.*of)(Backend::MKLDNN, Operation::MATMUL))};
  } else {
    return {(context.*of)("cuda", "matmul"), (context.*of)("mkldnn", "matmul")};
  }
}

// Relative error of a factor before multiplication: 0, or that of the above setting if any fp32
// matrix product may follow it.
double input_rounding() {
  double largest = 0.0;
  for (const std::string& precision : precisions(&at::Context::float32Precision)) {
    const bool is_exact = precision == "none" || precision == "ieee";
    largest = std::max(largest, is_exact ? 0.0 : std::ldexp(1.0, precision == "bf16" ? -7 : -10));
  }
  return largest;
}

double gamma(int64_t width, double epsilon) {
  const double error = static_cast<double>(width) * epsilon;
  return error < 0.5 ? error / (1 - error) : std::numeric_limits<double>::infinity();
}

// Four sums, each of every fourth product: a fixed order as with one sum, but faster.
template <typename T>
double dot(const T* a, const T* b, int64_t width) {
  double sums[4] = {0, 0, 0, 0};
  int64_t i = 0;
  for (; i + 4 <= width; i += 4) {
    for (int lane = 0; lane < 4; ++lane) {
      sums[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  for (; i < width; ++i) sums[i % 4] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <typename T>
double dot_of_rows(const Vectors& a, int64_t i, const Vectors& b, int64_t j) {
  const int64_t width = a.width();
  return dot(a.host.const_data_ptr<T>() + i * width, b.host.const_data_ptr<T>() + j * width, width);
}

// (N) fp64. at::linalg_vector_norm would widen a copy of all rows.
template <typename T>
at::Tensor norms_of(const at::Tensor& host) {
  const int64_t rows = host.size(0), width = host.size(1);
  at::Tensor norms = at::empty(rows, at::kDouble);
  const auto* const values = host.const_data_ptr<T>();
  auto* const found = norms.mutable_data_ptr<double>();
  at::parallel_for(0, rows, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const x = values + row * width;
      found[row] = std::sqrt(dot(x, x, width));
    }
  });
  return norms;
}

}  // namespace

RowPairs RowPairs::one_each(int64_t queries) {
  RowPairs pairs{std::vector<int64_t>(queries), {}};
  std::iota(pairs.queries.begin(), pairs.queries.end(), 0);
  pairs.notes = pairs.queries;
  return pairs;
}

Vectors to_vectors(std::string_view where, std::string_view name, const at::Tensor& tensor) {
  check_floating(where, name, tensor, {kAny, kAny});
  const at::ScalarType dtype = wide_dtype(tensor.scalar_type());
  Vectors vectors;
  vectors.compute = tensor.detach().to(dtype);
  vectors.host = vectors.compute.cpu().contiguous();
  vectors.norms =
      dtype == at::kDouble ? norms_of<double>(vectors.host) : norms_of<float>(vectors.host);
  const auto* const norms = vectors.norms.const_data_ptr<double>();
  for (int64_t row = 0; row < vectors.size(); ++row) {
    require(std::isfinite(norms[row]), where, name, " must be finite, but row ", row,
            " is not (or its norm is above 1e154)");
  }
  return vectors;
}

Vectors Vectors::take(std::span<const int64_t> rows) const {
  at::Tensor index = at::empty(std::ssize(rows), at::kLong);
  std::copy(rows.begin(), rows.end(), index.mutable_data_ptr<int64_t>());
  Vectors taken;
  taken.host = host.index_select(0, index);
  taken.compute =
      compute.is_cpu() ? taken.host : compute.index_select(0, index.to(compute.device()));
  taken.norms = norms.index_select(0, index);
  return taken;
}

void check_same_kind(std::string_view where, const at::Tensor& queries, const at::Tensor& pool) {
  require(queries.size(1) == pool.size(1), where,
          "queries and pool must have the same width, but have ", queries.size(1), " and ",
          pool.size(1));
  require(queries.scalar_type() == pool.scalar_type() && queries.device() == pool.device(), where,
          "queries and pool must have the same dtype and device, but are ", queries.toString(),
          " and ", pool.toString());
}

double exact_score(const Vectors& queries, int64_t query, const Vectors& pool, int64_t note) {
  return queries.host.scalar_type() == at::kDouble ? dot_of_rows<double>(queries, query, pool, note)
                                                   : dot_of_rows<float>(queries, query, pool, note);
}

TileProducts tile_products(at::ScalarType dtype, int64_t width) {
  const double rounding = dtype == at::kDouble ? 0.0 : input_rounding();
  return {width, rounding * (2 + rounding)};
}

TileBound::TileBound(const Vectors& queries, const Vectors& pool, const TileProducts& products)
    : TileBound(queries.norms,
                pool.size() > 0 ? pool.norms.max().item<double>() : 0.0,
                queries.width(),
                queries.host.scalar_type(),
                products) {}

TileBound::TileBound(const at::Tensor& query_norms,
                     double longest,
                     int64_t width,
                     at::ScalarType dtype,
                     const TileProducts& products) {
  const bool is_double = dtype == at::kDouble;
  const double epsilon =
      is_double ? std::numeric_limits<double>::epsilon() : std::numeric_limits<float>::epsilon();
  const double smallest =
      is_double ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
  const double largest =
      is_double ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  const double relative = gamma(products.terms, epsilon) * (1 + products.missing) +
                          products.missing + gamma(width, std::numeric_limits<double>::epsilon());
  const auto* const norms = query_norms.const_data_ptr<double>();
  for (int64_t query = 0; query < query_norms.size(0); ++query) {
    const double product = norms[query] * longest;
    // No number of a vector is above its norm. What TF32 rounds to infinity bf16 does, too.
    const bool may_round_up =
        products.missing > 0 && std::max(norms[query], longest) >= kMostInBf16;
    // Subnormal factors and products may be flushed to zero.
    const double underflow =
        2 * static_cast<double>(products.terms) * smallest * (2 + norms[query] + longest);
    const bool may_overflow = may_round_up || !(product < largest / 4);
    bounds_.push_back(may_overflow ? std::numeric_limits<double>::infinity()
                                   : relative * product + underflow);
  }
}

at::Tensor score_tile(
    const Vectors& queries, int64_t q0, int64_t q1, const Vectors& pool, int64_t n0, int64_t n1) {
  const auto rows = queries.compute.slice(0, q0, q1);  // (q1 - q0, d)
  const auto columns = pool.compute.slice(0, n0, n1);  // (n1 - n0, d)
  return matmul_transposed(rows, columns).cpu().contiguous();
}

void check_tiles(std::string_view where, const TileOptions& tiles) {
  require(tiles.queries >= 0 && tiles.pool >= 0, where, "tiles must not be negative, but are ",
          tiles.queries, " x ", tiles.pool);
}

TileOptions product_tiles(const TileOptions& tiles) {
  return {tiles.queries > 0 ? tiles.queries : 256, tiles.pool > 0 ? tiles.pool : 4096, false};
}

Exclusions::Exclusions(std::string_view where,
                       const at::Tensor& exclude,
                       int64_t queries,
                       int64_t pool)
    : offsets_(queries + 1, 0) {
  if (!exclude.defined()) return;
  require(exclude.scalar_type() == at::kLong && !exclude.is_meta() &&
              (exclude.dim() == 1 || exclude.dim() == 2) && exclude.size(0) == queries,
          where, "exclude must be int64 of shape (Q) or (Q, E) with Q = ", queries, ", but is ",
          exclude.toString(), " ", exclude.sizes());
  const at::Tensor lists = exclude.dim() == 1 ? exclude.unsqueeze(1) : exclude;
  const at::Tensor rows = lists.detach().cpu().contiguous();
  const int64_t width = queries > 0 ? rows.size(1) : 0;
  for (int64_t query = 0; query < queries; ++query) {
    const auto row = std::span(rows.const_data_ptr<int64_t>() + query * width, width);
    const auto begin = std::ssize(notes_);
    for (const int64_t note : row) {
      require(note >= -1 && note < pool, where, "exclude must be in [0, ", pool,
              ") or -1, but row ", query, " has ", note);
      if (note >= 0) notes_.push_back(note);
    }
    std::sort(notes_.begin() + begin, notes_.end());
    notes_.erase(std::unique(notes_.begin() + begin, notes_.end()), notes_.end());
    offsets_[query + 1] = std::ssize(notes_);
  }
}

std::span<const int64_t> Exclusions::of(int64_t query) const {
  return std::span(notes_).subspan(offsets_[query], offsets_[query + 1] - offsets_[query]);
}

RowPairs Exclusions::pairs() const {
  RowPairs pairs{{}, notes_};
  for (int64_t query = 0; query + 1 < std::ssize(offsets_); ++query)
    pairs.queries.insert(pairs.queries.end(), of(query).size(), query);
  return pairs;
}

Exclusions Exclusions::take(std::span<const int64_t> queries) const {
  Exclusions taken;
  for (const int64_t query : queries) {
    const auto notes = of(query);
    taken.notes_.insert(taken.notes_.end(), notes.begin(), notes.end());
    taken.offsets_.push_back(std::ssize(taken.notes_));
  }
  return taken;
}

at::Tensor Exclusions::lists() const {
  const int64_t queries = std::ssize(offsets_) - 1;
  int64_t width = 0;
  for (int64_t query = 0; query < queries; ++query)
    width = std::max(width, static_cast<int64_t>(of(query).size()));
  at::Tensor lists = at::full({queries, width}, std::numeric_limits<int64_t>::max(), at::kLong);
  for (int64_t query = 0; query < queries; ++query)
    std::ranges::copy(of(query), lists.mutable_data_ptr<int64_t>() + query * width);
  return lists;
}

bool Exclusions::contains(int64_t query, int64_t note) const {
  const auto notes = of(query);
  return std::binary_search(notes.begin(), notes.end(), note);
}

}  // namespace notellm::internal
