#include "notellm/losses/gcl.h"

#include "tensors.h"

#include <algorithm>
#include <limits>
#include <numbers>
#include <tuple>

#include "autograd/differentiable.h"
#include "gcl_composed.h"
#include "gcl_whole.h"
#include "notellm/ops/dtypes.h"
#include "notellm/ops/matmul.h"
#include "notellm/util/check.h"
#include "ops/tensor_checks.h"
#include "tiles.h"

namespace notellm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Anchors {
  int64_t begin, end;
};

// A block of the symmetric (R, R) matrix of scores, on or above its diagonal. It gives the scores
// of the anchors among its rows and, off the diagonal, also of those among its columns.
struct Tile {
  int64_t row, rows, column, columns;
  bool is_by_row, is_by_column;

  bool is_diagonal() const { return row == column; }
  at::Tensor of_rows(const at::Tensor& x) const { return x.narrow(0, row, rows); }
  at::Tensor of_columns(const at::Tensor& x) const { return x.narrow(0, column, columns); }
};

template <typename Visit>
void for_each_tile(int64_t count, const Anchors& anchors, int64_t side, const Visit& visit) {
  const auto has_anchor = [&](int64_t begin) {
    return std::max(begin, anchors.begin) < std::min(begin + side, anchors.end);
  };
  for (int64_t row = 0; row < count; row += side) {
    for (int64_t column = row; column < count; column += side) {
      const Tile tile{row,
                      std::min(side, count - row),
                      column,
                      std::min(side, count - column),
                      has_anchor(row),
                      column != row && has_anchor(column)};
      if (tile.is_by_row || tile.is_by_column) visit(tile);
    }
  }
}

// Everything a tile is computed from. Scores are (scale * cos - log q) * log2(e).
struct Scores {
  at::Tensor unit;               // (R, d)
  at::Tensor scaled;             // (R, d)
  at::Tensor notes, of_partner;  // (R) ids of the rows and of their partners, or undefined
  at::Tensor log2_q;             // (R) or undefined
  int64_t pairs;                 // B

  Scores(const at::Tensor& unit_rows, const at::Tensor& scale, const GclRows& given)
      : unit(unit_rows),
        scaled(unit_rows * (scale * std::numbers::log2e)),
        notes(given.note_ids),
        pairs((unit_rows.size(0) - given.negatives) / 2) {
    if (notes.defined()) of_partner = partners_of(notes);
    if (given.log_q.defined()) log2_q = given.log_q * std::numbers::log2e;
  }

  // (R, ...) with the rows of every pair swapped; rows in no pair stay, and are never read.
  at::Tensor partners_of(const at::Tensor& x) const {
    const at::Tensor swapped =
        x.narrow(0, 0, 2 * pairs).unflatten(0, {pairs, 2}).flip(1).flatten(0, 1);
    if (swapped.size(0) == x.size(0)) return swapped;
    return at::cat({swapped, x.slice(0, 2 * pairs)});
  }

  // (R): every anchor's score with its partner. Kept apart from the negatives in the tiles, so
  // that a loss far smaller than the score is not rounded away, nor its gradient.
  at::Tensor positives() const {
    const at::Tensor scores = (scaled * partners_of(unit)).sum(1);
    return log2_q.defined() ? scores - partners_of(log2_q) : scores;
  }

  // (rows, columns): scores with the negatives, before log q is taken from them; those of an anchor
  // with itself and its partner are -inf.
  at::Tensor tile(const Tile& t) const {
    const at::Tensor scores = matmul_transposed(t.of_rows(scaled), t.of_columns(unit));
    if (t.is_diagonal()) {  // tiles begin at even rows, so pairs are blocks of 2 by 2
      for (const int64_t offset : {-1, 0, 1}) {
        at::Tensor line = scores.diagonal(offset);
        (offset == 0 ? line : line.slice(0, 0, std::nullopt, 2)).fill_(-kInfinity);
      }
    }
    return scores;
  }

  // A tile's scores as seen by the anchors among its rows (or columns): lower by log q of the
  // others, and -inf for copies of the anchor's and its partner's note. Neither is symmetric: i may
  // leave out j, but j not i.
  at::Tensor as_seen(const at::Tensor& symmetric, const Tile& t, bool is_by_row) const {
    at::Tensor scores = symmetric;
    if (log2_q.defined()) {
      scores =
          scores - (is_by_row ? t.of_columns(log2_q).unsqueeze(0) : t.of_rows(log2_q).unsqueeze(1));
    }
    if (!notes.defined()) return scores;
    const at::Tensor rows = t.of_rows(notes).unsqueeze(1);
    const at::Tensor columns = t.of_columns(notes).unsqueeze(0);
    const at::Tensor copies_of_partner = is_by_row ? t.of_rows(of_partner).unsqueeze(1) == columns
                                                   : rows == t.of_columns(of_partner).unsqueeze(0);
    return scores.masked_fill(copies_of_partner.logical_or_(rows == columns), -kInfinity);
  }
};

// Log-sum-exp of every anchor's scores, and its loss; infinity and 0 for rows that are not anchors,
// which then contribute nothing to the gradient.
struct AnchorLosses {
  at::Tensor log_sums;  // (R) in units of log2
  at::Tensor losses;    // (R)
};

AnchorLosses anchor_losses(const Scores& scores, const Anchors& anchors, int64_t side) {
  const at::Tensor positives = scores.positives();
  internal::RunningLogSum negatives(positives.size(0), positives.options());
  for_each_tile(positives.size(0), anchors, side, [&](const Tile& t) {
    const at::Tensor tile = scores.tile(t);
    if (t.is_by_row) negatives.absorb(scores.as_seen(tile, t, true), 1, t.row);
    if (t.is_by_column) negatives.absorb(scores.as_seen(tile, t, false), 0, t.column);
  });
  const at::Tensor log_sums = negatives.log_sums();
  AnchorLosses result{at::full_like(positives, kInfinity), at::zeros_like(positives)};
  const auto of_anchors = [&](const at::Tensor& x) {
    return x.slice(0, anchors.begin, anchors.end);
  };
  of_anchors(result.log_sums).copy_(of_anchors(at::logaddexp2(log_sums, positives)));
  // log(1 + sum of exp(negative - positive)); from 40 on the 1 is below the precision of fp64
  of_anchors(result.losses)
      .copy_(of_anchors(at::softplus((log_sums - positives) * std::numbers::ln2, 1, 40)));
  return result;
}

// (R, d): (G + G^T) U, where G is the gradient of the loss in the scores; each tile is recomputed.
at::Tensor weighted_rows(const Scores& scores,
                         const AnchorLosses& saved,
                         const Anchors& anchors,
                         int64_t side) {
  const at::Tensor& unit = scores.unit;
  // softmax - 1 at the partner, for the anchor and for the partner as an anchor
  const at::Tensor at_partner = (-saved.losses).expm1_();  // (R)
  const at::Tensor weighted =
      scores.partners_of(unit) * (at_partner + scores.partners_of(at_partner)).unsqueeze(1);
  for_each_tile(unit.size(0), anchors, side, [&](const Tile& t) {
    const at::Tensor tile = scores.tile(t);
    at::Tensor weights;  // (rows, columns): softmax of the rows' anchors and of the columns'
    if (t.is_by_row) {
      weights = internal::tile_softmax(scores.as_seen(tile, t, true), 1, t.of_rows(saved.log_sums));
    }
    if (t.is_by_column) {
      const at::Tensor by_column =
          internal::tile_softmax(scores.as_seen(tile, t, false), 0, t.of_columns(saved.log_sums));
      weights = weights.defined() ? weights.add_(by_column) : by_column;
    }
    t.of_rows(weighted).add_(matmul_transposed(weights, t.of_columns(unit).t()));
    t.of_columns(weighted).add_(weight_gradient(weights, t.of_rows(unit), unit.scalar_type()));
  });
  return weighted;
}

// The embeddings, split into norms and unit rows.
struct Rows {
  at::Tensor norms;  // (R, 1), floored
  at::Tensor unit;   // (R, d)

  explicit Rows(const at::Tensor& embeddings)
      : norms(embeddings.norm(2, {1}, true).clamp_min(1e-12)), unit(embeddings / norms) {}
};

// The saved tensors of a forward pass, by index.
enum Saved { kEmbeddings, kTau, kIds, kLogQ, kUnit, kNorms, kScale, kFirst, kSecond };

// On the CPU, a batch of one tile keeps its matrix; any other batch keeps its log-sum-exps.
struct Shape {
  Anchors anchors;
  int64_t negatives;
  int64_t tile_rows;
  bool is_whole;

  GclRows rows(const at::Tensor& ids, const at::Tensor& log_q) const {
    return {ids, log_q, std::pair(anchors.begin, anchors.end), negatives};
  }
};

internal::Forward forward(const at::Tensor& embeddings,
                          const at::Tensor& tau,
                          const GclRows& given,
                          const Shape& shape) {
  const Rows rows(embeddings);
  const at::Tensor scale = tau.exp();
  std::vector<at::Tensor> saved{embeddings, tau,        given.note_ids, given.log_q,
                                rows.unit,  rows.norms, scale};
  if (shape.is_whole) {
    auto whole = internal::gcl_whole(rows.unit, scale.item<double>(), given);
    saved.insert(saved.end(), {whole.gradient, at::Tensor()});
    return {whole.sum, saved};
  }
  const AnchorLosses result =
      anchor_losses(Scores(rows.unit, scale, given), shape.anchors, shape.tile_rows);
  saved.insert(saved.end(), {result.log_sums, result.losses});
  return {result.losses.sum(), saved};
}

// Gradients of embeddings and tau.
std::vector<at::Tensor> backward(const internal::Backward& given, const Shape& shape) {
  const auto& saved = given.saved;
  const at::Tensor &embeddings = saved[kEmbeddings], &tau = saved[kTau];
  const GclRows rows = shape.rows(saved[kIds], saved[kLogQ]);
  if (at::GradMode::is_enabled()) {
    const auto composed = [&] {
      return internal::gcl_composed(Rows(embeddings).unit, tau.exp(), rows);
    };
    return internal::composed_gradients(composed, {embeddings, tau}, given.gradient);
  }
  const at::Tensor &unit = saved[kUnit], &scale = saved[kScale];
  const at::Tensor weighted =
      shape.is_whole ? internal::weighted_by(saved[kFirst], unit, shape.anchors.begin)
                     : weighted_rows(Scores(unit, scale, rows), {saved[kFirst], saved[kSecond]},
                                     shape.anchors, shape.tile_rows);
  const at::Tensor along = (unit * weighted).sum(1, true);  // (R, 1): removed by the normalisation
  const at::Tensor factor = scale * given.gradient;
  std::vector<at::Tensor> result(2);
  if (given.needs[1]) {  // sum of G * cos = half the sum of U * (G + G^T) U
    result[1] = along.sum() * (factor / 2);
  }
  if (given.needs[0]) {
    const at::Tensor is_floored = saved[kNorms] <= 1e-12;  // these are not normalised
    const at::Tensor across = at::where(is_floored, weighted, weighted - unit * along);
    result[0] = across.mul_(factor / saved[kNorms]);
  }
  return result;
}

// Replaces ids by small integers, which compare faster; undefined if all differ, so that nothing is
// masked. On a GPU they stay as they are: the host would have to wait for the number of those that
// differ.
at::Tensor compact_ids(const at::Tensor& note_ids) {
  if (!note_ids.defined() || !note_ids.is_cpu()) return note_ids;
  const auto [values, places, counts] = at::_unique2(note_ids, /*sorted=*/true,
                                                     /*return_inverse=*/true);
  if (values.size(0) == note_ids.size(0)) return {};
  return places.to(at::kInt);
}

}  // namespace

LossTerm gcl_loss(const at::Tensor& embeddings,
                  const at::Tensor& tau,
                  const GclRows& given,
                  int64_t tile_rows) {
  constexpr const char* where = "gcl_loss";
  const internal::Require require(where);
  internal::check_floating(where, "embeddings", embeddings, {internal::kAny, internal::kAny});
  const int64_t rows = embeddings.size(0), paired = rows - given.negatives;
  require(given.negatives >= 0 && paired > 0 && paired % 2 == 0,
          "embeddings must be (2B + negatives, d) with an even number of rows in pairs, "
          "but are ",
          embeddings.sizes(), " with ", given.negatives, " negatives");
  require(tau.defined() && tau.numel() == 1 && tau.is_floating_point() && !tau.is_meta(),
          "tau must be a scalar of a floating-point dtype, but is ", tau.toString(), " of shape ",
          tau.sizes());
  internal::check_device(where, "tau", tau, embeddings.device());
  if (given.note_ids.defined()) {
    internal::check_tensor(where, "note_ids", given.note_ids, {rows}, at::kLong);
    internal::check_device(where, "note_ids", given.note_ids, embeddings.device());
  }
  if (given.log_q.defined()) {
    internal::check_floating(where, "log_q", given.log_q, {rows});
    internal::check_device(where, "log_q", given.log_q, embeddings.device());
  }
  const auto [begin, end] = given.anchors.value_or(std::pair<int64_t, int64_t>(0, paired));
  require(0 <= begin && begin <= end && end <= paired, "anchors must be a range of the rows [0, ",
          paired, "), but are [", begin, ", ", end, ")");
  require(tile_rows > 0 && tile_rows % 2 == 0, "tile_rows must be even and positive, but is ",
          tile_rows);

  const at::ScalarType dtype = wide_dtype(embeddings.scalar_type());
  const at::Tensor wide = embeddings.to(dtype);
  const at::Tensor log_scale = tau.reshape({}).to(dtype);
  const Shape shape{{begin, end}, given.negatives, tile_rows, wide.is_cpu() && rows <= tile_rows};
  const at::Tensor log_q = given.log_q.defined() ? given.log_q.detach().to(dtype) : at::Tensor();
  const GclRows known = shape.rows(compact_ids(given.note_ids), log_q);
  const at::Tensor sum = internal::differentiable(
      {wide, log_scale}, [&] { return forward(wide, log_scale, known, shape); },
      [shape](const internal::Backward& step) { return backward(step, shape); });
  return {sum, shape.anchors.end - shape.anchors.begin};
}

}  // namespace notellm
