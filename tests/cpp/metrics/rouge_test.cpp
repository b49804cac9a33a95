#include "notellm/metrics/rouge.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "notellm/util/check.h"

namespace notellm {
namespace {

using Words = std::vector<std::string>;

TEST(Rouge, CountsATokenAsOftenAsBothTextsHaveIt) {
  const Overlap overlap = rouge_1(Words{"7", "7", "7", "1"}, Words{"7", "7", "2", "3", "4"});
  EXPECT_DOUBLE_EQ(overlap.precision, 2.0 / 4);
  EXPECT_DOUBLE_EQ(overlap.recall, 2.0 / 5);
  EXPECT_DOUBLE_EQ(overlap.f1, 4.0 / 9);
}

TEST(Rouge, FindsTheLongestCommonSubsequence) {
  EXPECT_DOUBLE_EQ(rouge_l(Words{"1", "9", "2", "8", "3"}, Words{"3", "1", "2", "3"}).recall,
                   3.0 / 4);
  EXPECT_DOUBLE_EQ(rouge_l(Words{"2", "1"}, Words{"1", "2"}).f1, 0.5);
}

TEST(Rouge, CountsPairsOfNeighbours) {
  const Overlap overlap = rouge_2(Words{"1", "2", "3", "1", "2"}, Words{"1", "2", "9", "3", "1"});
  EXPECT_DOUBLE_EQ(overlap.precision, 2.0 / 4);  // 1 2 once, and 3 1
  EXPECT_EQ(rouge_2(Words{"1"}, Words{"1"}).f1, 0);
}

TEST(Rouge, IsZeroWithoutTokens) {
  EXPECT_EQ(rouge_1(Words{}, Words{"1"}).f1, 0);
  EXPECT_EQ(rouge_l(Words{"1"}, Words{}).f1, 0);
  EXPECT_EQ(rouge_l(Words{}, Words{}).precision, 0);
}

TEST(Rouge, EndsWhereProgressSaysSo) {
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(rouge_l(Words{"1"}, Words{"1"}, stop), Interrupted);
}

}  // namespace
}  // namespace notellm
