#include "notellm/metrics/ranking.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<double>;

TEST(HitsAt, FollowsTheTieRule) {
  const Ints greater = {0, 1, 5}, equal = {0, 3, 0}, ks = {1, 3};
  EXPECT_EQ(hits_at(greater, equal, ks, Ties::kOptimistic), (Floats{1, 1, 0, 1, 0, 0}));
  EXPECT_EQ(hits_at(greater, equal, ks, Ties::kPessimistic), (Floats{1, 1, 0, 0, 0, 0}));
  EXPECT_EQ(hits_at(greater, equal, ks, Ties::kMean), (Floats{1, 1, 0, 0.5, 0, 0}));
}

TEST(ReciprocalRanks, FollowTheTieRule) {
  const Ints greater = {1}, equal = {2};
  EXPECT_EQ(reciprocal_ranks(greater, equal, Ties::kOptimistic), (Floats{0.5}));
  EXPECT_EQ(reciprocal_ranks(greater, equal, Ties::kPessimistic), (Floats{0.25}));
  EXPECT_DOUBLE_EQ(reciprocal_ranks(greater, equal)[0], (1.0 / 2 + 1.0 / 3 + 1.0 / 4) / 3);
}

TEST(HitsAt, RejectsCutOffsBelowOneAndNegativeCounts) {
  const Ints zero = {0}, negative = {-1}, two = {0, 0};
  EXPECT_THROW(hits_at(zero, zero, zero), std::invalid_argument);
  EXPECT_THROW(hits_at(negative, zero, {}), std::invalid_argument);
  EXPECT_THROW(reciprocal_ranks(zero, two), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
