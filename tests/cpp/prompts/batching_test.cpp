#include "notellm/prompts/batching.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "token_lists.h"

namespace notellm {
namespace {

using Ids = std::vector<int64_t>;

// The cuts of sequences with nothing in common, by their lengths.
Ids cuts(const std::vector<int64_t>& lengths, int64_t budget, int64_t room = 0) {
  TokenLists sequences;
  for (size_t i = 0; i < lengths.size(); ++i) {
    sequences.push_back(std::vector<int32_t>(lengths[i], static_cast<int32_t>(i)));
  }
  return prefix_batches(sequences, {.budget = budget, .room = room}).batches;
}

TEST(PrefixBatches, FillEveryBatchUpToTheBudget) {
  EXPECT_EQ(cuts({4, 3, 3, 5, 5, 1}, 10), (Ids{0, 3, 5, 6}));
}

TEST(PrefixBatches, CountTheRoomThatSequencesNeed) {
  EXPECT_EQ(cuts({4, 3, 3, 5, 5, 1}, 10, 1), (Ids{0, 2, 4, 6}));
}

TEST(PrefixBatches, GiveASequenceBeyondTheBudgetABatchAlone) {
  EXPECT_EQ(cuts({2, 50, 2, 2}, 10), (Ids{0, 1, 2, 4}));
}

TEST(PrefixBatches, MakeNothingOfNothing) {
  const PrefixBatches made = prefix_batches({}, {});
  EXPECT_EQ(made.batches, Ids{0});
  EXPECT_EQ(made.groups, Ids{0});
  EXPECT_EQ(made.size(), 0);
}

TEST(PrefixBatches, FindEqualSequencesAndKeepPrefixesTogether) {
  const TokenLists sequences = token_lists({{7, 8}, {5}, {7, 8}, {7, 1, 1}, {5}, {7, 8}});
  const PrefixBatches made = prefix_batches(sequences, {});
  EXPECT_EQ(made.rows, (Ids{1, 4, 3, 0, 2, 5}));
  EXPECT_EQ(made.groups, (Ids{0, 2, 3, 6}));
  EXPECT_EQ(made.batches, (Ids{0, 3}));
  const std::vector<TokenSpan> distinct = sequences_of(sequences, made, 0);
  ASSERT_EQ(distinct.size(), 3U);
  EXPECT_EQ(std::vector<int32_t>(distinct[1].begin(), distinct[1].end()),
            (std::vector<int32_t>{7, 1, 1}));
}

TEST(PrefixBatches, CountSharedTokensOnce) {
  const TokenLists sequences = token_lists({{1, 1, 1, 1, 2}, {1, 1, 1, 1, 3}, {1, 1, 1, 1, 4}});
  EXPECT_EQ(prefix_batches(sequences, {.budget = 7}).batches, (Ids{0, 3}));
  EXPECT_EQ(prefix_batches(sequences, {.budget = 6}).batches, (Ids{0, 2, 3}));
}

TEST(PrefixBatches, CountWhatIsSharedAndNotWhatCouldBe) {
  // Three tokens in common are too few for a segment: every sequence counts in full.
  const TokenLists sequences =
      token_lists({{1, 1, 1, 2}, {1, 1, 1, 3}, {1, 1, 1, 4}, {1, 1, 1, 5}});
  EXPECT_EQ(prefix_batches(sequences, {.budget = 8}).batches, (Ids{0, 2, 4}));
  EXPECT_EQ(prefix_batches(sequences, {.budget = 7}).batches, (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(prefix_batches(sequences, {.budget = 7, .forest = {.min_shared = 3}}).batches,
            (Ids{0, 4}));
}

TEST(PrefixBatches, RefuseOptionsOutOfRange) { EXPECT_THROW(cuts({1}, 0), std::invalid_argument); }

}  // namespace
}  // namespace notellm
