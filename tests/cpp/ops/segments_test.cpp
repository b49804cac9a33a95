#include "notellm/ops/segments.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

// a root of 2 tokens, its children of 1 and 2, a child of the second child of 1
Segments forest() { return Segments({0, 2, 3, 5, 6}, {-1, 0, 0, 2}); }

TEST(Segments, ChainsGoFromTheRootToTheSegment) {
  EXPECT_EQ(forest().chain(3), (std::vector<int64_t>{0, 2, 3}));
  EXPECT_EQ(forest().chain(1), (std::vector<int64_t>{0, 1}));
}

TEST(Segments, PositionsContinueFromTheParent) {
  EXPECT_TRUE(at::equal(forest().positions(), at::tensor({0, 1, 2, 2, 3, 4}, at::kLong)));
}

TEST(Segments, MaskShowsAncestorsAndThePastButNoSiblings) {
  const at::Tensor expected = at::tensor({1, 0, 0, 0, 0, 0,  //
                                          1, 1, 0, 0, 0, 0,  //
                                          1, 1, 1, 0, 0, 0,  //
                                          1, 1, 0, 1, 0, 0,  //
                                          1, 1, 0, 1, 1, 0,  //
                                          1, 1, 0, 1, 1, 1},
                                         at::kLong);
  EXPECT_TRUE(at::equal(forest().mask().to(at::kLong), expected.view({6, 6})));
}

TEST(Segments, OneMoreRootIsSeenByNobodyElse) {
  const Segments more = forest().with_root(2);
  EXPECT_EQ(more.tokens(), 8);
  EXPECT_EQ(more.chain(4), (std::vector<int64_t>{4}));
  const at::Tensor mask = more.mask();
  EXPECT_TRUE(at::equal(mask.slice(0, 0, 6).slice(1, 0, 6), forest().mask()));
  EXPECT_FALSE(mask.slice(0, 0, 6).slice(1, 6).any().item<bool>());
  EXPECT_FALSE(mask.slice(0, 6).slice(1, 0, 6).any().item<bool>());
  EXPECT_EQ(forest().with_root(0).count(), 4);
}

TEST(Segments, RefusesAParentThatComesLater) {
  EXPECT_THROW(Segments({0, 1, 2}, {1, -1}), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
