#include "notellm/prompts/batching.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

std::vector<int64_t> batches(std::vector<int64_t> lengths, int64_t budget) {
  return token_budget_batches(lengths, budget);
}

TEST(TokenBudgetBatches, FillsEveryBatchUpToTheBudget) {
  EXPECT_EQ(batches({4, 3, 3, 5, 5, 1}, 10), (std::vector<int64_t>{0, 3, 5, 6}));
}

TEST(TokenBudgetBatches, AnItemBeyondTheBudgetIsABatchAlone) {
  EXPECT_EQ(batches({2, 50, 2, 2}, 10), (std::vector<int64_t>{0, 1, 2, 4}));
}

TEST(TokenBudgetBatches, NothingIsNoBatch) {
  EXPECT_EQ(batches({}, 10), (std::vector<int64_t>{0}));
}

TEST(TokenBudgetBatches, RefusesABudgetBelowOne) {
  EXPECT_THROW(batches({1}, 0), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
