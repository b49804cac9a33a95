#include <gtest/gtest.h>

#include <cmath>

#include "notellm/losses/csft.h"
#include "notellm/losses/gcl.h"
#include "notellm/losses/joint.h"
#include "notellm/losses/nested_gcl.h"
#include "tensors.h"

namespace notellm {
namespace {

TEST(Gcl, OrthogonalPairsByHand) {
  // cosines: 1 with the partner, 0 with the two others; scale exp(0) = 1
  const at::Tensor embeddings = at::eye(2).repeat_interleave(2, 0) * 7;
  const LossTerm term = gcl_loss(embeddings, at::zeros({}));
  EXPECT_EQ(term.count, 4);
  EXPECT_NEAR(term.sum.item<double>(), 4 * std::log((std::exp(1.0) + 2) / std::exp(1.0)), 1e-6);
}

TEST(Gcl, OnePairHasNoNegatives) {
  EXPECT_NEAR(gcl_loss(at::randn({2, 3}), at::full({}, 3.0)).sum.item<double>(), 0, 1e-5);
}

TEST(NestedGcl, IsTheMeanOverAllWidths) {
  const at::Tensor embeddings = at::randn({6, 5}, at::kDouble),
                   tau = at::full({}, 1.0, at::kDouble);
  const std::vector<int64_t> dims = {2, 3};
  double sum = gcl_loss(embeddings, tau).sum.item<double>();
  for (const int64_t dim : dims)
    sum += gcl_loss(embeddings.narrow(1, 0, dim), tau).sum.item<double>();
  const LossTerm term = nested_gcl_loss(embeddings, tau, dims);
  EXPECT_EQ(term.count, 6);
  EXPECT_NEAR(term.sum.item<double>(), sum / 3, 1e-12);
}

TEST(NestedGcl, RefusesWidthsThatDoNotAscend) {
  const at::Tensor embeddings = at::randn({4, 3}), tau = at::zeros({});
  for (const std::vector<int64_t>& dims : {std::vector<int64_t>{2, 2}, {0}, {3}}) {
    EXPECT_THROW(nested_gcl_loss(embeddings, tau, dims), std::invalid_argument);
  }
}

TEST(Gcl, AZeroRowGivesFiniteGradients) {
  at::Tensor embeddings = at::zeros({4, 3}).set_requires_grad(true);
  gcl_loss(embeddings, at::zeros({})).sum.backward();
  EXPECT_TRUE(embeddings.grad().isfinite().all().item<bool>());
}

TEST(Csft, UniformLogitsCostTheLogOfTheVocabulary) {
  const at::Tensor labels = at::tensor({0, 1, 2, 3}, at::kLong);
  const at::Tensor offsets = at::tensor({0, 1, 4}, at::kLong);
  const LossTerm by_note = csft_loss(at::zeros({4, 9}), labels, offsets);
  EXPECT_EQ(by_note.count, 2);
  EXPECT_NEAR(by_note.sum.item<double>(), 2 * std::log(9.0), 1e-5);
  const LossTerm by_token = csft_loss(at::zeros({4, 9}), labels, offsets, CsftReduction::kToken);
  EXPECT_EQ(by_token.count, 4);
  EXPECT_NEAR(by_token.sum.item<double>(), 4 * std::log(9.0), 1e-5);
}

TEST(Joint, WeighsTheMeansByAlpha) {
  const LossTerm contrastive{at::full({}, 6.0), 3}, generative{at::full({}, 8.0), 2};
  EXPECT_NEAR(joint_loss(contrastive, generative, 0.5).item<double>(), (2 + 0.5 * 4) / 1.5, 1e-6);
}

}  // namespace
}  // namespace notellm
