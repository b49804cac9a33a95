#include "notellm/losses/gcl.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

constexpr int64_t kRows = 22, kNegatives = 5;  // not multiples of the tiles below

struct GclInput {
  at::Tensor embeddings, tau;
  GclRows rows;
};

// Pairs, then negatives; some notes come more than once.
GclInput make_gcl_input() {
  at::manual_seed(7);
  const int64_t count = kRows + kNegatives;
  const at::Tensor embeddings = at::randn({count, 6}, at::kDouble).set_requires_grad(true);
  const at::Tensor tau = at::full({}, 1.5, at::kDouble).set_requires_grad(true);
  return {embeddings,
          tau,
          {.note_ids = at::randint(0, 15, {count}, at::kLong),
           .log_q = at::randn({count}, at::kDouble),
           .negatives = kNegatives}};
}

void expect_equal_gradients(const GclInput& one, const GclInput& other) {
  EXPECT_TRUE(at::allclose(one.embeddings.grad(), other.embeddings.grad(), 1e-11, 1e-12));
  EXPECT_TRUE(at::allclose(one.tau.grad(), other.tau.grad(), 1e-11, 1e-12));
}

TEST(GclTiles, TheSizeOfATileChangesNothing) {
  const GclInput whole = make_gcl_input();
  const LossTerm expected = gcl_loss(whole.embeddings, whole.tau, whole.rows);
  expected.sum.backward();
  for (const int64_t tile_rows : {2, 4, 8, 20}) {
    const GclInput tiled = make_gcl_input();
    const LossTerm term = gcl_loss(tiled.embeddings, tiled.tau, tiled.rows, tile_rows);
    EXPECT_EQ(term.count, kRows);
    EXPECT_NEAR(term.sum.item<double>(), expected.sum.item<double>(), 1e-10);
    term.sum.backward();
    expect_equal_gradients(tiled, whole);
  }
}

TEST(GclTiles, RangesOfAnchorsAddUpToTheWhole) {
  const GclInput whole = make_gcl_input(), parts = make_gcl_input();
  const LossTerm expected = gcl_loss(whole.embeddings, whole.tau, whole.rows);
  expected.sum.backward();
  double sum = 0;
  int64_t count = 0;
  for (const auto& range : {std::pair<int64_t, int64_t>{0, 9}, {9, 9}, {9, 18}, {18, kRows}}) {
    GclRows rows = parts.rows;
    rows.anchors = range;
    const LossTerm term = gcl_loss(parts.embeddings, parts.tau, rows, 4);
    term.sum.backward();
    sum += term.sum.item<double>();
    count += term.count;
  }
  EXPECT_EQ(count, kRows);
  EXPECT_NEAR(sum, expected.sum.item<double>(), 1e-10);
  expect_equal_gradients(parts, whole);
}

TEST(GclTiles, RefusesAnchorsAmongNegatives) {
  const GclInput input = make_gcl_input();
  GclRows rows = input.rows;
  rows.anchors = {kRows - 2, kRows + 2};
  EXPECT_THROW(gcl_loss(input.embeddings, input.tau, rows), std::invalid_argument);
}

TEST(GclTiles, RefusesRowsThatAreNeitherInPairsNorNegatives) {
  const GclInput input = make_gcl_input();
  GclRows rows = input.rows;
  for (const int64_t negatives : {int64_t{-1}, kNegatives - 1, kRows + kNegatives}) {
    rows.negatives = negatives;
    EXPECT_THROW(gcl_loss(input.embeddings, input.tau, rows), std::invalid_argument) << negatives;
  }
}

// Without pairs of equal notes or log q, a negative adds exp(score) to each anchor's denominator.
TEST(Gcl, NegativesAreFurtherColumns) {
  const GclInput input = make_gcl_input();
  const LossTerm term = gcl_loss(input.embeddings, input.tau, {.negatives = kNegatives});
  const at::Tensor unit = input.embeddings / input.embeddings.norm(2, {1}, true);
  const at::Tensor scores = unit.matmul(unit.t()) * input.tau.exp();
  double expected = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    const at::Tensor others = at::cat({scores[i].slice(0, 0, i), scores[i].slice(0, i + 1)});
    expected += (others.logsumexp(0) - scores[i][i ^ 1]).item<double>();
  }
  EXPECT_EQ(term.count, kRows);
  EXPECT_NEAR(term.sum.item<double>(), expected, 1e-10);
}

}  // namespace
}  // namespace notellm
