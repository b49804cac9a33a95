#include "notellm/ops/prefix_attention.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include "tensors.h"

#include <random>
#include <utility>
#include <vector>

#include "notellm/ops/segment_attention.h"

namespace notellm {
namespace {

// A forest of `count` segments of 1 to 6 tokens.
Segments random_forest(int64_t count, std::mt19937& generator) {
  std::vector<int64_t> offsets{0}, parents;
  for (int64_t s = 0; s < count; ++s) {
    offsets.push_back(offsets.back() + 1 + generator() % 6);
    parents.push_back(static_cast<int64_t>(generator() % (s + 1)) - 1);
  }
  return {std::move(offsets), std::move(parents)};
}

struct Inputs {
  at::Tensor queries, keys, values;
  Inputs(int64_t tokens, at::ScalarType dtype)
      : queries(at::randn({tokens, 4, 8}, dtype)),
        keys(at::randn({tokens, 2, 8}, dtype) * 3),
        values(at::randn({tokens, 2, 8}, dtype)) {}
};

class PrefixAttention : public testing::Test {
 protected:
  PrefixAttention() { at::manual_seed(5); }
  c10::AutoGradMode no_grad{false};
};

TEST_F(PrefixAttention, IsThatOfTheWholeForest) {
  std::mt19937 generator(3);
  for (int64_t count = 1; count < 12; ++count) {
    const Segments segments = random_forest(count, generator);
    const Inputs in(segments.tokens(), at::kDouble);
    const ComposedAttentionPlan plan = plan_composed_attention(segments, in.queries.options());
    ComposedAttentionPlan by_levels;
    by_levels.levels = prefix_levels(segments, at::kCPU);
    const at::Tensor expected = composed_attention(in.queries, in.keys, in.values, plan);
    const at::Tensor actual = composed_attention(in.queries, in.keys, in.values, by_levels);
    EXPECT_TRUE(at::allclose(actual, expected, 1e-12, 1e-12)) << count;
  }
}

// Merging in half precision would add its rounding at every depth.
TEST_F(PrefixAttention, HalfPrecisionIsMergedInFp32) {
  std::vector<int64_t> offsets{0}, parents;
  for (int64_t s = 0; s < 30; ++s) offsets.push_back(2 * s + 2), parents.push_back(s - 1);
  const Segments chain(offsets, parents);
  const Inputs in(chain.tokens(), at::kBFloat16);
  const PrefixLevels levels = prefix_levels(chain, at::kCPU);
  const at::Tensor actual = prefix_attention(in.queries, in.keys, in.values, levels);
  const at::Tensor wide = prefix_attention(in.queries.to(at::kFloat), in.keys.to(at::kFloat),
                                           in.values.to(at::kFloat), levels);
  EXPECT_EQ(actual.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(actual.to(at::kFloat), wide, 1.0 / 256, 1e-6));
}

TEST_F(PrefixAttention, LevelsHoldEachSharedSegmentOnce) {
  // 0 (2 tokens) > 1 (1) > 3 (2); 0 > 2 (3); 4 (1) alone
  const PrefixLevels levels =
      prefix_levels(Segments({0, 2, 3, 6, 8, 9}, {-1, 0, 0, 1, -1}), at::kCPU);
  const auto is = [](const at::Tensor& actual, std::vector<int64_t> expected) {
    return at::equal(actual.to(at::kLong), at::tensor(expected, at::kLong));
  };
  EXPECT_FALSE(levels.own.query_rows.defined());
  EXPECT_TRUE(is(levels.own.key_offsets, {0, 2, 3, 6, 8, 9}));
  EXPECT_EQ(levels.own.longest_queries, 3);
  ASSERT_EQ(levels.above.size(), 2);
  EXPECT_TRUE(is(levels.above[0].query_rows, {2, 3, 4, 5, 6, 7}));
  EXPECT_TRUE(is(levels.above[0].key_rows, {0, 1}));
  EXPECT_TRUE(is(levels.above[1].query_rows, {6, 7}));
  EXPECT_TRUE(is(levels.above[1].key_rows, {2}));
  EXPECT_EQ(levels.above[0].longest_queries, 6);
  EXPECT_EQ(levels.above[0].longest_keys, 2);
}

TEST_F(PrefixAttention, AnEmptyForestHasNoLevels) {
  const PrefixLevels levels = prefix_levels(Segments({0}, {}), at::kCPU);
  EXPECT_EQ(levels.own.query_offsets.numel(), 1);
  EXPECT_EQ(levels.own.longest_queries, 0);
  EXPECT_TRUE(levels.above.empty());
}

TEST_F(PrefixAttention, RefusesGradients) {
  const Segments segments({0, 2, 3}, {-1, 0});
  Inputs in(3, at::kFloat);
  in.keys.requires_grad_();
  const PrefixLevels levels = prefix_levels(segments, at::kCPU);
  EXPECT_NO_THROW(prefix_attention(in.queries, in.keys, in.values, levels));
  const c10::AutoGradMode with_grad(true);
  EXPECT_THROW(prefix_attention(in.queries, in.keys, in.values, levels), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
