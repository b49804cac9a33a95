#include "notellm/metrics/overlap.h"

#include <gtest/gtest.h>

#include <vector>

namespace notellm {
namespace {

using Ids = std::vector<int64_t>;
using Words = std::vector<std::string>;

TEST(Rouge, CountsATokenAsOftenAsBothTextsHaveIt) {
  const Overlap overlap = rouge_1(Ids{7, 7, 7, 1}, Ids{7, 7, 2, 3, 4});
  EXPECT_DOUBLE_EQ(overlap.precision, 2.0 / 4);
  EXPECT_DOUBLE_EQ(overlap.recall, 2.0 / 5);
  EXPECT_DOUBLE_EQ(overlap.f1, 4.0 / 9);
}

TEST(Rouge, FindsTheLongestCommonSubsequence) {
  EXPECT_DOUBLE_EQ(rouge_l(Ids{1, 9, 2, 8, 3}, Ids{3, 1, 2, 3}).recall, 3.0 / 4);
  EXPECT_DOUBLE_EQ(rouge_l(Ids{2, 1}, Ids{1, 2}).f1, 0.5);
}

TEST(Rouge, CountsPairsOfNeighbours) {
  const Overlap overlap = rouge_2(Ids{1, 2, 3, 1, 2}, Ids{1, 2, 9, 3, 1});
  EXPECT_DOUBLE_EQ(overlap.precision, 2.0 / 4);  // 1 2 once, and 3 1
  EXPECT_EQ(rouge_2(Ids{1}, Ids{1}).f1, 0);
}

TEST(Rouge, TakesWordsAsItTakesIds) {
  const Words prediction = {"a", "b", "a"}, reference = {"a", "c"};
  EXPECT_DOUBLE_EQ(rouge_1(prediction, reference).f1, rouge_1(Ids{0, 1, 0}, Ids{0, 2}).f1);
  EXPECT_DOUBLE_EQ(rouge_l(prediction, reference).f1, rouge_l(Ids{0, 1, 0}, Ids{0, 2}).f1);
}

TEST(Rouge, IsZeroWithoutTokens) {
  EXPECT_EQ(rouge_1(Ids{}, Ids{1}).f1, 0);
  EXPECT_EQ(rouge_l(Ids{1}, Ids{}).f1, 0);
  EXPECT_EQ(rouge_l(Ids{}, Ids{}).precision, 0);
}

}  // namespace
}  // namespace notellm
