#include "notellm/ops/dropout.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

Dropout dropout(double share, int64_t rows, int64_t site = 0) {
  return {share, 7, site, at::arange(1, rows + 1, at::kLong)};
}

TEST(PrefixKeys, DependOnThePathOnly) {
  // the path 5 6 | 8 9 alone, and as the second child of a root among others
  const std::vector<int64_t> alone{5, 6, 8, 9}, together{5, 6, 7, 8, 9, 5, 6};
  const at::Tensor one = prefix_keys(alone, Segments({0, 4}, {-1}));
  const at::Tensor forest = prefix_keys(together, Segments({0, 2, 3, 5, 7}, {-1, 0, 0, -1}));
  EXPECT_TRUE(at::equal(forest.index({at::tensor({0, 1, 3, 4}, at::kLong)}), one));
  EXPECT_TRUE(at::equal(forest.slice(0, 5, 7), one.slice(0, 0, 2)));  // the same path again
}

TEST(PrefixKeys, DifferWhereAnEarlierTokenDoes) {
  const Segments segments({0, 3}, {-1});
  const at::Tensor a = prefix_keys(std::vector<int64_t>{1, 2, 3}, segments);
  const at::Tensor b = prefix_keys(std::vector<int64_t>{2, 1, 3}, segments);
  EXPECT_TRUE(a.ne(b).all().item<bool>());
}

TEST(PrefixKeys, RefuseAnotherNumberOfTokens) {
  EXPECT_THROW(prefix_keys(std::vector<int64_t>{1}, Segments({0, 2}, {-1})), std::invalid_argument);
}

TEST(Drop, DropsItsShareAndKeepsTheExpectation) {
  for (const double share : {0.1, 0.5, 0.9}) {
    const at::Tensor y = drop(at::ones({500, 203}, at::kDouble), dropout(share, 500));
    EXPECT_NEAR(y.eq(0).to(at::kDouble).mean().item<double>(), share, 0.005);
    EXPECT_NEAR(y.mean().item<double>(), 1, 0.03);
    // neither rows nor columns stand out
    EXPECT_LT(y.eq(0).to(at::kDouble).mean(0).sub(share).abs().max().item<double>(), 0.12);
  }
}

// Also in half precision, where a factor that is rounded before the product would add its bias.
TEST(Drop, LoopAndComposedAreTheSameToTheBit) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const int64_t width : {1, 3, 4, 30, 65}) {
      for (const double share : {0.1, 0.3}) {
        const at::Tensor x = at::randn({90, width}, at::kDouble).to(dtype);
        const Dropout own = dropout(share, 90, 2);
        EXPECT_TRUE(at::equal(drop(x, own), internal::composed_drop(x, own))) << dtype;
      }
    }
  }
}

TEST(Drop, SitesAndSeedsHaveMasksOfTheirOwn) {
  const at::Tensor x = at::ones({20, 100});
  Dropout other_seed = dropout(0.5, 20);
  other_seed.seed = 8;
  const at::Tensor y = drop(x, dropout(0.5, 20));
  for (const Dropout& other : {dropout(0.5, 20, 1), other_seed}) {
    EXPECT_NEAR(drop(x, other).eq(y).to(at::kDouble).mean().item<double>(), 0.5, 0.05);
  }
  EXPECT_TRUE(at::equal(drop(x, dropout(0.5, 20)), y));
}

TEST(Drop, RefusesAShareOfOneAndMissingKeys) {
  EXPECT_THROW(drop(at::ones({2, 2}), dropout(1, 2)), std::invalid_argument);
  EXPECT_THROW(drop(at::ones({2, 2}), dropout(0.5, 3)), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
