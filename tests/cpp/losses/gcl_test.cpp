#include "notellm/losses/gcl.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

constexpr int64_t kRows = 22;  // not a multiple of the tiles below

struct GclInput {
  at::Tensor embeddings, tau, note_ids;
};

GclInput make_gcl_input() {
  at::manual_seed(7);
  return {at::randn({kRows, 6}, at::kDouble).set_requires_grad(true),
          at::full({}, 1.5, at::kDouble).set_requires_grad(true),
          at::randint(0, 15, {kRows}, at::kLong)};
}

void expect_equal_gradients(const GclInput& one, const GclInput& other) {
  EXPECT_TRUE(at::allclose(one.embeddings.grad(), other.embeddings.grad(), 1e-11, 1e-12));
  EXPECT_TRUE(at::allclose(one.tau.grad(), other.tau.grad(), 1e-11, 1e-12));
}

TEST(GclTiles, TheSizeOfATileChangesNothing) {
  const GclInput whole = make_gcl_input();
  const LossTerm expected = gcl_loss(whole.embeddings, whole.tau, whole.note_ids);
  expected.sum.backward();
  for (const int64_t tile_rows : {2, 4, 8, 20}) {
    const GclInput tiled = make_gcl_input();
    const LossTerm term =
        gcl_loss(tiled.embeddings, tiled.tau, tiled.note_ids, std::nullopt, tile_rows);
    EXPECT_EQ(term.count, kRows);
    EXPECT_NEAR(term.sum.item<double>(), expected.sum.item<double>(), 1e-10);
    term.sum.backward();
    expect_equal_gradients(tiled, whole);
  }
}

TEST(GclTiles, RangesOfAnchorsAddUpToTheWhole) {
  const GclInput whole = make_gcl_input(), parts = make_gcl_input();
  const LossTerm expected = gcl_loss(whole.embeddings, whole.tau, whole.note_ids);
  expected.sum.backward();
  double sum = 0;
  int64_t count = 0;
  for (const auto& range : {std::pair<int64_t, int64_t>{0, 9}, {9, 9}, {9, 18}, {18, kRows}}) {
    const LossTerm term = gcl_loss(parts.embeddings, parts.tau, parts.note_ids, range, 4);
    term.sum.backward();
    sum += term.sum.item<double>();
    count += term.count;
  }
  EXPECT_EQ(count, kRows);
  EXPECT_NEAR(sum, expected.sum.item<double>(), 1e-10);
  expect_equal_gradients(parts, whole);
}

TEST(GclTiles, RefusesAnchorsBeyondTheRows) {
  const GclInput input = make_gcl_input();
  const auto call = [&] { return gcl_loss(input.embeddings, input.tau, {}, std::pair(20, 24)); };
  EXPECT_THROW(call(), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
