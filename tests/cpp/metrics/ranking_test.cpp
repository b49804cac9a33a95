#include "notellm/metrics/ranking.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

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

// The mean of 1 / rank, summed from the smallest on in a wider type.
double summed_one_by_one(int64_t greater, int64_t equal) {
  long double sum = 0;
  for (int64_t rank = greater + equal + 1; rank > greater; --rank) sum += 1.0L / rank;
  return static_cast<double>(sum / (equal + 1));
}

TEST(ReciprocalRanks, OfTiesAreTheMeanOverAllPlaces) {
  constexpr double kTolerance = 1e-15;  // relative: a few roundings of fp64
  Ints greater, equal;
  for (const int64_t above : {0, 1, 14, 30, 31, 32, 63, 64, 1000, 1'000'000, 1'000'000'000}) {
    for (const int64_t beside : {0, 1, 31, 62, 63, 64, 65, 500, 1'500'000}) {
      greater.push_back(above);
      equal.push_back(beside);
    }
  }
  const Floats found = reciprocal_ranks(greater, equal);
  for (size_t i = 0; i < found.size(); ++i) {
    const double expected = summed_one_by_one(greater[i], equal[i]);
    EXPECT_NEAR(found[i] / expected, 1, kTolerance) << greater[i] << " " << equal[i];
  }
}

TEST(ReciprocalRanks, TakeNoLongerForMoreTies) {
  constexpr double kEuler = 0.57721566490153286061;
  const int64_t ties = int64_t{1} << 42;  // one by one, hours
  const Ints greater(1000, 0), equal(1000, ties);
  const double places = static_cast<double>(ties) + 1;
  const double expected = (std::log(places) + kEuler + 1 / (2 * places)) / places;
  EXPECT_NEAR(reciprocal_ranks(greater, equal)[999] / expected, 1, 1e-15);
}

TEST(HitsAt, RejectsCutOffsBelowOneAndNegativeCounts) {
  const Ints zero = {0}, negative = {-1}, two = {0, 0};
  EXPECT_THROW(hits_at(zero, zero, zero), std::invalid_argument);
  EXPECT_THROW(hits_at(negative, zero, {}), std::invalid_argument);
  EXPECT_THROW(reciprocal_ranks(zero, two), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
