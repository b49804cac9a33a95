#include "notellm/retrieval/rank.h"
#include "tensors.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

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

// What `target_ranks` complains of, on the host and on the device alike.
std::string ranks_refusal(const at::Tensor& queries,
                          const at::Tensor& targets,
                          const at::Tensor& exclude = {}) {
  std::string words;
  for (const bool on_device : {false, true}) {
    try {
      target_ranks(queries, at::ones({4, 2}), targets, exclude, {0, 0, on_device});
      return "nothing was refused";
    } catch (const std::invalid_argument& error) {
      if (on_device && words != error.what()) return words + " // " + error.what();
      words = error.what();
    }
  }
  return words;
}

TEST(TargetRanks, NameTheQueryOfOneOfSeveralTargets) {
  const at::Tensor queries = at::ones({3, 2});
  EXPECT_EQ(ranks_refusal(queries, ints({-1, -1, -1, 1, 2, 9}).reshape({3, 2})),
            "target_ranks: targets must be in [0, 4) or -1, but that of query 2 in column 1 is 9");
  EXPECT_EQ(ranks_refusal(queries, ints({-1, -1, -1, 1, 2, -2}).reshape({3, 2})),
            "target_ranks: targets must be in [0, 4) or -1, but that of query 2 in column 1 is -2");
  const at::Tensor targets = ints({-1, -1, -1, 1, 2, 3}).reshape({3, 2});
  EXPECT_EQ(ranks_refusal(queries, targets, ints({-1, 2, 3})),
            "target_ranks: the target of query 2 in column 1 must not be excluded, but note 3 is");
  EXPECT_EQ(ranks_refusal(queries, targets, ints({-1, 2, 5})),
            "target_ranks: exclude must be in [0, 4) or -1, but row 2 has 5");
  at::Tensor not_finite = at::ones({3, 2});
  not_finite.select(0, 2).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(ranks_refusal(not_finite, targets)
                  .starts_with("target_ranks: queries must be finite, but row 2 is not"));
}

TEST(TargetRanks, NameTheQueryOfItsOnlyTarget) {
  EXPECT_EQ(ranks_refusal(at::ones({2, 2}), ints({0, -1})),
            "target_ranks: targets must be in [0, 4), but that of query 1 is -1");
  EXPECT_EQ(ranks_refusal(at::ones({2, 2}), ints({0, 1}), ints({1, 1})),
            "target_ranks: the target of query 1 must not be excluded, but note 1 is");
}

TEST(TargetRanks, OfManyExclusionsAreTheSameForAnyNumberOfThreads) {
  at::manual_seed(3);
  const at::Tensor pool = at::randint(-3, 4, {300, 5}).to(at::kFloat);  // many ties
  const at::Tensor queries = at::randint(-3, 4, {40, 5}).to(at::kFloat);
  const at::Tensor targets = at::randint(0, 100, {40}, at::kLong);
  const at::Tensor exclude = at::randint(100, 300, {40, 120}, at::kLong);
  const at::Tensor scores = queries.mm(pool.t());  // small integers: exact
  at::Tensor counts = at::ones({40, 300}, at::kBool).scatter_(1, exclude, false);
  counts.scatter_(1, targets.unsqueeze(1), false);
  const at::Tensor own = scores.gather(1, targets.unsqueeze(1));
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    const Ranks ranks = target_ranks(queries, pool, targets, exclude);
    EXPECT_TRUE(ranks.greater.equal(scores.gt(own).logical_and(counts).sum(1)));
    EXPECT_TRUE(ranks.equal.equal(scores.eq(own).logical_and(counts).sum(1)));
  }
  at::set_num_threads(threads);
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
