#include "notellm/losses/gcl.h"

#include "tensors.h"

#include <algorithm>
#include <limits>
#include <numbers>
#include <tuple>

#include "autograd/differentiable.h"
#include "gcl_composed.h"
#include "gcl_whole.h"
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

// A block of the symmetric (2B, 2B) matrix of scores, on or above its diagonal. It gives the scores
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

// (2B, ...) with the rows of every pair swapped.
at::Tensor partners_of(const at::Tensor& x) {
  return x.unflatten(0, {x.size(0) / 2, 2}).flip(1).flatten(0, 1);
}

// Everything a tile is computed from. Scores are scale * cos * log2(e).
struct Scores {
  at::Tensor unit;               // (2B, d)
  at::Tensor scaled;             // (2B, d)
  at::Tensor notes, of_partner;  // (2B) ids of the rows and of their partners, or undefined

  Scores(const at::Tensor& unit_rows, const at::Tensor& scale, const at::Tensor& note_ids)
      : unit(unit_rows), scaled(unit_rows * (scale * std::numbers::log2e)), notes(note_ids) {
    if (notes.defined()) of_partner = partners_of(notes);
  }

  // (2B): every anchor's score with its partner. Kept apart from the negatives in the tiles, so
  // that a loss far smaller than the score is not rounded away, nor its gradient.
  at::Tensor positives() const { return (scaled * partners_of(unit)).sum(1); }

  // (R, C): scores with the negatives; those of an anchor with itself and its partner are -inf.
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

  // A tile's scores as seen by the anchors among its rows (or columns): copies of the anchor's and
  // its partner's note are -inf. The mask is not symmetric: i may leave out j, but j not i.
  at::Tensor as_seen(const at::Tensor& scores, const Tile& t, bool is_by_row) const {
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
  at::Tensor log_sums;  // (2B) in units of log2
  at::Tensor losses;    // (2B)
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

// (2B, d): (G + G^T) U, where G is the gradient of the loss in the scores; each tile is recomputed.
at::Tensor weighed_rows(const Scores& scores,
                        const AnchorLosses& saved,
                        const Anchors& anchors,
                        int64_t side) {
  const at::Tensor& unit = scores.unit;
  // softmax - 1 at the partner, for the anchor and for the partner as an anchor
  const at::Tensor at_partner = (-saved.losses).expm1_();  // (2B)
  const at::Tensor weighed =
      partners_of(unit) * (at_partner + partners_of(at_partner)).unsqueeze(1);
  for_each_tile(unit.size(0), anchors, side, [&](const Tile& t) {
    const at::Tensor tile = scores.tile(t);
    at::Tensor weights;  // (R, C): softmax of the rows' anchors and of the columns'
    if (t.is_by_row) {
      weights = internal::tile_softmax(scores.as_seen(tile, t, true), 1, t.of_rows(saved.log_sums));
    }
    if (t.is_by_column) {
      const at::Tensor by_column =
          internal::tile_softmax(scores.as_seen(tile, t, false), 0, t.of_columns(saved.log_sums));
      weights = weights.defined() ? weights.add_(by_column) : by_column;
    }
    t.of_rows(weighed).add_(matmul_transposed(weights, t.of_columns(unit).t()));
    t.of_columns(weighed).add_(weight_gradient(weights, t.of_rows(unit), unit.scalar_type()));
  });
  return weighed;
}

// The embeddings, split into norms and unit rows.
struct Rows {
  at::Tensor norms;  // (2B, 1), floored
  at::Tensor unit;   // (2B, d)

  explicit Rows(const at::Tensor& embeddings)
      : norms(embeddings.norm(2, {1}, true).clamp_min(1e-12)), unit(embeddings / norms) {}
};

// The saved tensors of a forward pass, by index.
enum Saved { kEmbeddings, kTau, kIds, kUnit, kNorms, kScale, kFirst, kSecond };

// On the CPU, a batch of one tile keeps its matrix; any other batch keeps its log-sum-exps.
struct Shape {
  Anchors anchors;
  int64_t tile_rows;
  bool is_whole;
};

internal::Forward forward(const at::Tensor& embeddings,
                          const at::Tensor& tau,
                          const at::Tensor& ids,
                          const Shape& shape) {
  const Rows rows(embeddings);
  const at::Tensor scale = tau.exp();
  std::vector<at::Tensor> saved{embeddings, tau, ids, rows.unit, rows.norms, scale};
  const auto [begin, end] = shape.anchors;
  if (shape.is_whole) {
    auto whole = internal::gcl_whole(rows.unit, scale.item<double>(), ids, begin, end);
    saved.insert(saved.end(), {whole.gradient, at::Tensor()});
    return {whole.sum, saved};
  }
  const AnchorLosses result =
      anchor_losses(Scores(rows.unit, scale, ids), shape.anchors, shape.tile_rows);
  saved.insert(saved.end(), {result.log_sums, result.losses});
  return {result.losses.sum(), saved};
}

// Gradients of embeddings and tau.
std::vector<at::Tensor> backward(const internal::Backward& given, const Shape& shape) {
  const auto& saved = given.saved;
  const at::Tensor &embeddings = saved[kEmbeddings], &tau = saved[kTau], &ids = saved[kIds];
  const auto [begin, end] = shape.anchors;
  if (at::GradMode::is_enabled()) {
    const auto composed = [&, begin = begin, end = end] {
      return internal::gcl_composed(Rows(embeddings).unit, tau.exp(), ids, begin, end);
    };
    return internal::composed_gradients(composed, {embeddings, tau}, given.gradient);
  }
  const at::Tensor &unit = saved[kUnit], &scale = saved[kScale];
  const at::Tensor weighed =
      shape.is_whole ? internal::weighed_by(saved[kFirst], unit, begin)
                     : weighed_rows(Scores(unit, scale, ids), {saved[kFirst], saved[kSecond]},
                                    shape.anchors, shape.tile_rows);
  const at::Tensor along = (unit * weighed).sum(1, true);  // (2B, 1): removed by the normalisation
  const at::Tensor factor = scale * given.gradient;
  std::vector<at::Tensor> result(2);
  if (given.needs[1]) {  // sum of G * cos = half the sum of U * (G + G^T) U
    result[1] = along.sum() * (factor / 2);
  }
  if (given.needs[0]) {
    const at::Tensor is_floored = saved[kNorms] <= 1e-12;  // these are not normalised
    const at::Tensor across = at::where(is_floored, weighed, weighed - unit * along);
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
                  const at::Tensor& note_ids,
                  std::optional<std::pair<int64_t, int64_t>> anchors,
                  int64_t tile_rows) {
  internal::check_floating(__func__, "embeddings", embeddings, {internal::kAny, internal::kAny});
  NOTELLM_CHECK_ARG(embeddings.size(0) > 0 && embeddings.size(0) % 2 == 0,
                    "embeddings must be (2B, d) with an even number of rows, but are ",
                    embeddings.sizes());
  NOTELLM_CHECK_ARG(tau.defined() && tau.numel() == 1 && tau.is_floating_point() && !tau.is_meta(),
                    "tau must be a scalar of a floating-point dtype, but is ", tau.toString(),
                    " of shape ", tau.sizes());
  internal::check_device(__func__, "tau", tau, embeddings.device());
  const int64_t rows = embeddings.size(0);
  if (note_ids.defined()) {
    internal::check_tensor(__func__, "note_ids", note_ids, {rows}, at::kLong);
    internal::check_device(__func__, "note_ids", note_ids, embeddings.device());
  }
  const auto [begin, end] = anchors.value_or(std::pair<int64_t, int64_t>(0, rows));
  NOTELLM_CHECK_ARG(0 <= begin && begin <= end && end <= rows,
                    "anchors must be a range of the rows [0, ", rows, "), but are [", begin, ", ",
                    end, ")");
  NOTELLM_CHECK_ARG(tile_rows > 0 && tile_rows % 2 == 0,
                    "tile_rows must be even and positive, but is ", tile_rows);

  const at::ScalarType dtype = embeddings.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor wide = embeddings.to(dtype);
  const at::Tensor log_scale = tau.reshape({}).to(dtype);
  const at::Tensor ids = compact_ids(note_ids);
  const Shape shape{{begin, end}, tile_rows, wide.is_cpu() && rows <= tile_rows};
  const at::Tensor sum = internal::differentiable(
      {wide, log_scale}, [&] { return forward(wide, log_scale, ids, shape); },
      [shape](const internal::Backward& given) { return backward(given, shape); });
  return {sum, shape.anchors.end - shape.anchors.begin};
}

}  // namespace notellm
