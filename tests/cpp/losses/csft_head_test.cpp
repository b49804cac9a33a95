#include "notellm/losses/csft_head.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include "notellm/util/check.h"

namespace notellm {
namespace {

struct HeadInput {
  at::Tensor states, head, labels, offsets;
};

HeadInput make_head_input() {
  at::manual_seed(8);
  return {at::randn({13, 6}, at::kDouble).set_requires_grad(true),
          at::randn({29, 6}, at::kDouble).set_requires_grad(true),
          at::randint(0, 29, {13}, at::kLong), at::tensor({0, 4, 4, 13}, at::kLong)};
}

TEST(CsftHead, EqualsCsftLossOfAllLogits) {
  for (const auto reduction : {CsftReduction::kNote, CsftReduction::kToken}) {
    const HeadInput whole = make_head_input();
    const LossTerm expected =
        csft_loss(whole.states.matmul(whole.head.t()), whole.labels, whole.offsets, reduction);
    expected.sum.backward();
    for (const int64_t max_logits : {1, 30, 100, 1000}) {
      const HeadInput tiled = make_head_input();
      const LossTerm term = csft_head_loss(tiled.states, tiled.head, tiled.labels, tiled.offsets,
                                           reduction, {at::kDouble, max_logits});
      EXPECT_EQ(term.count, expected.count);
      EXPECT_NEAR(term.sum.item<double>(), expected.sum.item<double>(), 1e-11);
      term.sum.backward();
      EXPECT_TRUE(at::allclose(tiled.states.grad(), whole.states.grad(), 1e-11, 1e-12));
      EXPECT_TRUE(at::allclose(tiled.head.grad(), whole.head.grad(), 1e-11, 1e-12));
    }
  }
}

TEST(CsftHead, RefusesHalfPrecision) {
  const HeadInput input = make_head_input();
  const auto call = [&] {
    return csft_head_loss(input.states, input.head, input.labels, input.offsets,
                          CsftReduction::kNote, {at::kHalf, {}});
  };
  EXPECT_THROW(call(), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
