#include "notellm/losses/csft_head.h"

#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "autograd/differentiable.h"
#include "labels.h"
#include "notellm/models/decoder.h"
#include "notellm/ops/dtypes.h"
#include "notellm/ops/matmul.h"
#include "notellm/util/check.h"
#include "ops/tensor_checks.h"
#include "tiles.h"

namespace notellm {
namespace {

struct TileShape {
  int64_t positions, vocabulary;
};

// The whole of one side if it fits, otherwise squares, so that both matrix products of the backward
// pass have long rows.
TileShape tile_shape(int64_t positions, int64_t vocabulary, int64_t max_logits) {
  const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(max_logits)));
  const auto at_most = [](int64_t size, int64_t limit) {
    return std::clamp<int64_t>(limit, 1, std::max<int64_t>(size, 1));
  };
  const int64_t rows = at_most(positions, side);
  const int64_t columns = at_most(vocabulary, max_logits / rows);
  return {at_most(positions, max_logits / columns), columns};
}

// Everything the tiles are computed from.
struct Head {
  at::Tensor states;  // (M, D) for products of the compute dtype
  at::Tensor weight;  // (V, D) in its own dtype
  at::Tensor labels;  // (M)
  TileShape shape;
  at::ScalarType compute, wide;  // dtypes of the products and of the sums

  Head(const at::Tensor& all_states,
       const at::Tensor& head,
       const at::Tensor& all_labels,
       at::ScalarType compute_dtype,
       int64_t max_logits)
      : states(for_products(all_states, compute_dtype)),
        weight(head),
        labels(all_labels),
        shape(tile_shape(states.size(0), head.size(0), max_logits)),
        compute(compute_dtype),
        wide(wide_dtype(compute)) {}

  at::TensorOptions wide_options() const {
    return states.options().dtype(wide).requires_grad(false);
  }
};

// Some positions by a part of the vocabulary.
struct Tile {
  int64_t position, positions, word, words;
  at::Tensor scores;   // (P, C) logits * log2(e), wide; the visitor may change it
  at::Tensor weight;   // (C, D) for products of the compute dtype
  at::Tensor columns;  // (P, 1): the label's column if it is in this tile, otherwise any
  at::Tensor has;      // (P, 1) bool: whether the label is in this tile

  at::Tensor of_positions(const at::Tensor& x) const { return x.narrow(0, position, positions); }
};

// The outer loop is over the vocabulary: each part of the head is read and cast once.
template <typename Visit>
void for_each_tile(const Head& head, const Visit& visit) {
  const int64_t positions = head.states.size(0), vocabulary = head.weight.size(0);
  if (positions == 0) return;
  for (int64_t word = 0; word < vocabulary; word += head.shape.vocabulary) {
    const int64_t words = std::min(head.shape.vocabulary, vocabulary - word);
    const at::Tensor weight = for_products(head.weight.narrow(0, word, words), head.compute);
    for (int64_t position = 0; position < positions; position += head.shape.positions) {
      Tile tile{position, std::min(head.shape.positions, positions - position),
                word,     words,
                {},       weight,
                {},       {}};
      tile.scores = wide_product(tile.of_positions(head.states), weight, head.compute)
                        .mul_(std::numbers::log2e);
      const at::Tensor columns = tile.of_positions(head.labels).unsqueeze(1) - word;
      tile.has = (columns >= 0).logical_and_(columns < words);
      tile.columns = columns.clamp(0, words - 1);
      visit(tile);
    }
  }
}

struct LabelLosses {
  at::Tensor log_sums;  // (M) in units of log2
  at::Tensor losses;    // (M)
};

LabelLosses label_losses(const Head& head) {
  const int64_t positions = head.states.size(0);
  const auto options = head.wide_options();
  internal::RunningLogSum running(positions, options);
  const at::Tensor of_labels = at::zeros({positions, 1}, options);
  for_each_tile(head, [&](const Tile& tile) {
    tile.of_positions(of_labels).add_(
        tile.scores.gather(1, tile.columns).masked_fill_(tile.has.logical_not(), 0));
    running.absorb(tile.scores, 1, tile.position);
  });
  const at::Tensor log_sums = running.log_sums();
  if (!head.labels.is_cpu()) {  // not checked, since the host would wait for a GPU
    const at::Tensor is_known = head.labels.ge(0).logical_and_(head.labels.lt(head.weight.size(0)));
    of_labels.masked_fill_(is_known.logical_not_().unsqueeze(1),
                           std::numeric_limits<double>::quiet_NaN());
  }
  return {log_sums, (log_sums - of_labels.squeeze(1)) * std::numbers::ln2};
}

struct HeadGradients {
  at::Tensor states, head;  // wide; undefined if not needed
};

// Gradients of the losses weighted by `weights` (M); each tile is recomputed.
HeadGradients head_gradients(const Head& head,
                             const at::Tensor& log_sums,
                             const at::Tensor& weights,
                             bool needs_states,
                             bool needs_head) {
  const auto options = head.wide_options();
  HeadGradients result;
  at::Tensor weighted;  // (M, D): weighted here once rather than in every tile
  if (needs_states) result.states = at::zeros(head.states.sizes(), options);
  if (needs_head) {
    weighted = for_products(head.states * weights.unsqueeze(1), head.compute);
    result.head = head.states.size(0) == 0 ? at::zeros(head.weight.sizes(), options)
                                           : at::empty(head.weight.sizes(), options);
  }
  for_each_tile(head, [&](const Tile& tile) {
    at::Tensor softmax = tile.scores;  // (P, C)
    internal::to_tile_softmax(softmax, 1, tile.of_positions(log_sums));
    softmax.scatter_add_(1, tile.columns, tile.has.to(head.wide).neg_());
    const at::Tensor by_logits = for_products(softmax, head.compute);
    if (needs_states) {
      tile.of_positions(result.states)
          .add_(wide_product(by_logits, tile.weight.t(), head.compute));  // (P, D)
    }
    if (!needs_head) return;
    const at::Tensor part =
        weight_gradient(by_logits, tile.of_positions(weighted), head.wide);  // (C, D)
    const at::Tensor words = result.head.narrow(0, tile.word, tile.words);
    tile.position == 0 ? words.copy_(part) : words.add_(part);
  });
  if (needs_states) result.states.mul_(weights.unsqueeze(1));
  return result;
}

// Gradients of states and head.
std::vector<at::Tensor> backward(const internal::Backward& given,
                                 at::ScalarType compute,
                                 int64_t max_logits) {
  const auto& saved = given.saved;
  const at::Tensor &states = saved[0], &head = saved[1], &labels = saved[2], &weights = saved[3];
  if (at::GradMode::is_enabled()) {
    const auto composed = [&] {
      return internal::weighted_cross_entropy(head_logits(states, head, compute), labels, weights);
    };
    return internal::composed_gradients(composed, {states, head}, given.gradient);
  }
  auto [by_states, by_head] =
      head_gradients(Head(states, head, labels, compute, max_logits), saved[4],
                     weights * given.gradient, given.needs[0], given.needs[1]);
  if (by_states.defined()) by_states = by_states.to(states.scalar_type());
  if (by_head.defined()) by_head = by_head.to(head.scalar_type());
  return {by_states, by_head};
}

}  // namespace

LossTerm csft_head_loss(const at::Tensor& states,
                        const at::Tensor& head,
                        const at::Tensor& labels,
                        const at::Tensor& label_offsets,
                        CsftReduction reduction,
                        const HeadOptions& options) {
  constexpr const char* where = "csft_head_loss";
  internal::check_floating(where, "states", states, {internal::kAny, internal::kAny});
  internal::check_floating(where, "head", head, {internal::kAny, states.size(1)});
  internal::check_device(where, "head", head, states.device());
  internal::check_tensor(where, "labels", labels, {states.size(0)}, at::kLong);
  internal::check_device(where, "labels", labels, states.device());
  const at::ScalarType compute = options.compute;
  internal::check_compute_dtype(where, compute);
  const int64_t max_logits =
      options.maybe_max_logits.value_or(states.is_cpu() ? int64_t{1} << 20 : int64_t{1} << 24);
  internal::require(max_logits >= 1, where, "max_logits must be at least 1, but is ", max_logits);
  if (labels.is_cpu()) internal::check_labels(where, labels, head.size(0));
  const auto [weights, count] =
      internal::label_weights(where, label_offsets, labels.size(0), reduction,
                              states.options().dtype(wide_dtype(compute)).requires_grad(false));
  const at::Tensor sum = internal::differentiable(
      {states, head},
      [&, &of_labels = weights]() -> internal::Forward {
        const LabelLosses result = label_losses(Head(states, head, labels, compute, max_logits));
        return {result.losses.dot(of_labels), {states, head, labels, of_labels, result.log_sums}};
      },
      [=](const internal::Backward& given) { return backward(given, compute, max_logits); });
  return {sum, count};
}

}  // namespace notellm
