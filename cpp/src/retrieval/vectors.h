#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "notellm/retrieval/rank.h"
#include "notellm/util/check.h"
#include "notellm/util/progress.h"

namespace notellm::internal {

/// Pairs of a query and a note, given by their rows.
struct RowPairs {
  std::vector<int64_t> queries;
  std::vector<int64_t> notes;

  /// Each query with the note of the same row.
  static RowPairs one_each(int64_t queries);
};

/// Vectors prepared for exact scores, one per row.
struct Vectors {
  at::Tensor compute;  ///< (N, d) fp32 or fp64 on the device they came from
  at::Tensor host;     ///< (N, d) the same, contiguous on the CPU; often the same memory
  at::Tensor norms;    ///< (N) fp64 CPU

  int64_t size() const { return host.size(0); }
  int64_t width() const { return host.size(1); }

  /// Copies rows, in this order.
  Vectors take(std::span<const int64_t> rows) const;
};

/// Widens, copies to the host and checks. @throws std::invalid_argument naming `where` and `name`.
Vectors to_vectors(std::string_view where, std::string_view name, const at::Tensor& tensor);

/// @throws std::invalid_argument unless both (Q, d) and (N, d) have the same width, dtype and
///                               device.
void check_same_kind(std::string_view where, const at::Tensor& queries, const at::Tensor& pool);

/// The score by definition: the inner product summed in fp64 in one fixed order.
double exact_score(const Vectors& queries, int64_t query, const Vectors& pool, int64_t note);

/// What the scores of a tile are sums of.
struct TileProducts {
  int64_t terms;   ///< products that are added up; each may be rounded, and each sum
  double missing;  ///< share of |q| |n| that the products lack, since their factors were rounded
};

/// Of `score_tile`. If torch was told to multiply in TF32 or bf16, the factors may be rounded.
TileProducts tile_products(at::ScalarType dtype, int64_t width);

/// How far a tile's score may be from the exact one, for any order of summation.
///
///   |tile - exact| <= (missing + gamma(terms, tile precision) + gamma(d, fp64)) |q| max|n|
///                     + underflow,
///   gamma(n, u) = n u / (1 - n u)   (Higham, Accuracy and Stability of Numerical Algorithms, 3.1)
///
/// Products that could overflow have an infinite bound, and so have factors that rounding could
/// make infinite.
class TileBound {
 public:
  TileBound(const Vectors& queries, const Vectors& pool, const TileProducts& products);

  /// @param norms    (Q) fp64 CPU, of the queries.
  /// @param longest  the largest norm of the pool.
  TileBound(const at::Tensor& norms,
            double longest,
            int64_t width,
            at::ScalarType dtype,
            const TileProducts& products);
  double operator()(int64_t query) const { return bounds_[query]; }

 private:
  std::vector<double> bounds_;  // (Q)
};

/// Scores of queries [q0, q1) with notes [n0, n1), as a contiguous CPU matrix of the vectors'
/// dtype.
at::Tensor score_tile(
    const Vectors& queries, int64_t q0, int64_t q1, const Vectors& pool, int64_t n0, int64_t n1);

/// @throws std::invalid_argument if a size is negative.
void check_tiles(std::string_view where, const TileOptions& tiles);

/// The sizes of tiles for `score_tile`.
TileOptions product_tiles(const TileOptions& tiles);

/// Calls `visit(q0, q1, n0, n1)` for all tiles of a (Q, N) score matrix, one row of tiles after
/// another.
template <typename Visit>
void for_each_tile(int64_t Q,
                   int64_t N,
                   const TileOptions& tiles,
                   const ProgressFn& progress,
                   const Visit& visit) {
  for (int64_t q0 = 0; q0 < Q; q0 += tiles.queries) {
    const int64_t q1 = std::min(Q, q0 + tiles.queries);
    for (int64_t n0 = 0; n0 < N; n0 += tiles.pool) {
      report_progress(progress, q0 * N + (q1 - q0) * n0, Q * N);
      visit(q0, q1, n0, std::min(N, n0 + tiles.pool));
    }
  }
  report_progress(progress, Q * N, Q * N);
}

/// The notes that each query leaves out, without repetition.
class Exclusions {
 public:
  /// @param exclude  (Q) or (Q, E) int64 with -1 = none, or undefined.
  Exclusions(std::string_view where, const at::Tensor& exclude, int64_t queries, int64_t pool);

  /// The notes that a query leaves out, ascending and distinct.
  std::span<const int64_t> of(int64_t query) const;
  bool contains(int64_t query, int64_t note) const;
  /// All of them, query by query.
  RowPairs pairs() const;
  /// Those of some queries, in this order; a query may come more than once.
  Exclusions take(std::span<const int64_t> queries) const;
  /// (Q, E) int64: each query's notes, ascending; behind them numbers that no note has.
  at::Tensor lists() const;

 private:
  Exclusions() : offsets_{0} {}

  std::vector<int64_t> notes_;
  std::vector<int64_t> offsets_;  // (Q + 1)
};

}  // namespace notellm::internal
