#include "notellm/retrieval/rank.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "notellm/util/check.h"

namespace notellm {
namespace {

at::Tensor ints(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

TEST(TargetRanks, CountsGreaterAndEqualWithoutTheTarget) {
  const auto pool = at::tensor({3.0F, 2.0F, 2.0F, 2.0F, 1.0F}).reshape({5, 1});
  const auto queries = at::ones({2, 1});
  const Ranks ranks = target_ranks(queries, pool, ints({2, 4}));
  EXPECT_TRUE(ranks.greater.equal(ints({1, 4})));
  EXPECT_TRUE(ranks.equal.equal(ints({2, 0})));
}

TEST(TargetRanks, LeavesOutExcludedNotesOnce) {
  const auto pool = at::tensor({3.0F, 2.0F, 2.0F, 1.0F}).reshape({4, 1});
  const auto exclude = ints({0, 0, 1, -1, -1, -1}).reshape({2, 3});
  const Ranks ranks = target_ranks(at::ones({2, 1}), pool, ints({2, 2}), exclude);
  EXPECT_TRUE(ranks.greater.equal(ints({0, 1})));
  EXPECT_TRUE(ranks.equal.equal(ints({0, 1})));
}

TEST(TargetRanks, RanksSeveralTargetsOfAQuery) {
  const auto pool = at::tensor({3.0F, 2.0F, 2.0F, 1.0F}).reshape({4, 1});
  const auto targets = ints({3, 0, 1, -1}).reshape({2, 2});
  const Ranks ranks = target_ranks(at::ones({2, 1}), pool, targets);
  EXPECT_TRUE(ranks.greater.equal(ints({3, 0, 1, -1}).reshape({2, 2})));
  EXPECT_TRUE(ranks.equal.equal(ints({0, 0, 1, -1}).reshape({2, 2})));
}

TEST(RanksInPart, AddUpToTheRanksInThePool) {
  const auto pool = at::tensor({3.0F, 2.0F, 2.0F, 2.0F, 1.0F}).reshape({5, 1});
  const auto query = at::ones({1, 1});
  const auto target = pool.slice(0, 2, 3);
  const Ranks first = ranks_in_part(query, target, pool.slice(0, 0, 3), ints({2}));
  const Ranks second = ranks_in_part(query, target, pool.slice(0, 3, 5));
  EXPECT_EQ((first.greater + second.greater).item<int64_t>(), 1);
  EXPECT_EQ((first.equal + second.equal).item<int64_t>(), 2);
}

TEST(TargetRanks, DecidesByTheExactScoreWhereOverflowHidesIt) {
  // In fp32 both products overflow; exactly, the first note scores 0 and the second 1e38.
  const float big = 3e38F;
  const auto queries = at::tensor({2.0F, 2.0F}).reshape({1, 2});
  const auto pool = at::tensor({big, -big, big, -big + 1e38F}).reshape({2, 2});
  EXPECT_EQ(target_ranks(queries, pool, ints({0})).greater.item<int64_t>(), 1);
  EXPECT_EQ(target_ranks(queries, pool, ints({1})).greater.item<int64_t>(), 0);
}

TEST(TargetRanks, StopsWhenProgressSaysSo) {
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(target_ranks(at::ones({1, 2}), at::ones({3, 2}), ints({0}), {}, {}, stop),
               Interrupted);
}

TEST(TargetRanks, RejectsTargetsOutsideThePool) {
  EXPECT_THROW(target_ranks(at::ones({1, 2}), at::ones({3, 2}), ints({3})), std::invalid_argument);
  EXPECT_THROW(target_ranks(at::ones({1, 2}), at::ones({3, 2}), ints({0}), ints({0})),
               std::invalid_argument);
}

}  // namespace
}  // namespace notellm
