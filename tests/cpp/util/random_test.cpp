#include "notellm/util/random.h"

#include <gtest/gtest.h>

#include <vector>

namespace notellm {
namespace {

TEST(RandomWord, ChangesWithEveryInput) {
  const uint64_t base = random_word(1, 2, 3, 4, 5);
  EXPECT_NE(base, random_word(0, 2, 3, 4, 5));
  EXPECT_NE(base, random_word(1, 0, 3, 4, 5));
  EXPECT_NE(base, random_word(1, 2, 0, 4, 5));
  EXPECT_NE(base, random_word(1, 2, 3, 0, 5));
  EXPECT_NE(base, random_word(1, 2, 3, 4, 0));
}

TEST(RandomBelow, FillsItsRangeEvenly) {
  std::vector<int> counts(10, 0);
  for (uint64_t i = 0; i < 100000; ++i) ++counts[random_below(random_word(7, 0, 0, i), 10)];
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);  // five standard deviations
}

}  // namespace
}  // namespace notellm
