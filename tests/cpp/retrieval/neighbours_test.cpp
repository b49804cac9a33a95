#include "notellm/retrieval/neighbours.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "notellm/retrieval/index.h"
#include "notellm/util/check.h"

namespace notellm {
namespace {

TEST(NearestNeighbours, BreaksTiesByPoolIndexAndFillsUp) {
  const auto pool = at::tensor({1.0F, 2.0F, 2.0F, 0.0F}).reshape({4, 1});
  const Neighbours found =
      nearest_neighbours(at::ones({1, 1}), pool, 4, at::tensor({3}, at::kLong));
  EXPECT_TRUE(found.indices.equal(at::tensor({1, 2, 0, -1}, at::kLong).reshape({1, 4})));
  const double none = -std::numeric_limits<double>::infinity();
  EXPECT_TRUE(found.scores.equal(at::tensor({2.0, 2.0, 1.0, none}).reshape({1, 4})));
}

TEST(NearestNeighbours, FindsNothingInAnEmptyPool) {
  const Neighbours found = nearest_neighbours(at::ones({2, 3}), at::ones({0, 3}), 1);
  EXPECT_TRUE(found.indices.equal(at::full({2, 1}, -1, at::kLong)));
}

TEST(NearestNeighbours, RejectsKBelowOne) {
  EXPECT_THROW(nearest_neighbours(at::ones({1, 1}), at::ones({1, 1}), 0), std::invalid_argument);
}

TEST(NeighbourIndex, FlatEqualsExactOrSaysWhatIsMissing) {
  const auto pool = at::eye(8).repeat({3, 1});
  try {
    const Neighbours found = NeighbourIndex(pool, "Flat").search(pool, 3);
    EXPECT_TRUE(found.indices.equal(nearest_neighbours(pool, pool, 3).indices));
  } catch (const NotSupportedError& error) {
    EXPECT_NE(std::string(error.what()).find("libfaiss-dev"), std::string::npos);
  }
}

}  // namespace
}  // namespace notellm
