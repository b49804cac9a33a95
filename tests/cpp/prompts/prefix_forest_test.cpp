#include "notellm/prompts/prefix_forest.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

using Ids = std::vector<int64_t>;
using Sequences = std::vector<std::vector<int32_t>>;

PrefixForest forest_of(const Sequences& sequences, int64_t min_shared = 1, int64_t own_tail = 0) {
  const std::vector<TokenSpan> spans(sequences.begin(), sequences.end());
  return prefix_forest(spans, {min_shared, own_tail});
}

// Reads every sequence back along its path.
Sequences read_back(const PrefixForest& forest) {
  Sequences sequences;
  for (const int64_t last : forest.last) {
    auto& sequence = sequences.emplace_back();
    for (const int64_t t : path_to(forest.segment_offsets, forest.segment_parents, last)) {
      sequence.push_back(static_cast<int32_t>(forest.tokens[t]));
    }
  }
  return sequences;
}

TEST(PrefixForest, OfOneSequenceIsOneSegment) {
  const PrefixForest forest = forest_of({{5, 6, 7}});
  EXPECT_EQ(forest.tokens, (Ids{5, 6, 7}));
  EXPECT_EQ(forest.segment_offsets, (Ids{0, 3}));
  EXPECT_EQ(forest.segment_parents, Ids{-1});
  EXPECT_EQ(forest.last, Ids{2});
}

TEST(PrefixForest, OfNothingIsEmpty) {
  const PrefixForest forest = forest_of({});
  EXPECT_TRUE(forest.tokens.empty());
  EXPECT_EQ(forest.segment_offsets, Ids{0});
  EXPECT_TRUE(forest.last.empty());
  EXPECT_EQ(forest_of({{}, {}}).last, (Ids{-1, -1}));
  EXPECT_EQ(forest_of({{}, {4}}, 1, 1).last, (Ids{-1, 0}));
}

TEST(PrefixForest, BranchesWhereSequencesPart) {
  const Sequences sequences{{1, 2, 9}, {1, 2, 3, 4}, {1, 2, 3, 5, 6}, {8}};
  const PrefixForest forest = forest_of(sequences);
  EXPECT_EQ(forest.tokens, (Ids{1, 2, 3, 4, 5, 6, 9, 8}));  // depth first, siblings ascending
  EXPECT_EQ(forest.segment_offsets, (Ids{0, 2, 3, 4, 6, 7, 8}));
  EXPECT_EQ(forest.segment_parents, (Ids{-1, 0, 1, 1, 0, -1}));
  EXPECT_EQ(forest.last, (Ids{6, 3, 5, 7}));
  EXPECT_EQ(read_back(forest), sequences);
}

TEST(PrefixForest, LaysEqualSequencesOutOnce) {
  const PrefixForest forest = forest_of({{1, 2}, {3}, {1, 2}, {1, 2}}, 8);
  EXPECT_EQ(forest.tokens, (Ids{1, 2, 3}));
  EXPECT_EQ(forest.last, (Ids{1, 2, 1, 1}));
}

TEST(PrefixForest, EndsASequenceWithinOneItBegins) {
  const Sequences sequences{{1, 2}, {1, 2, 3, 4, 5}, {1}, {1, 2, 3}};
  const PrefixForest forest = forest_of(sequences, 8);
  EXPECT_EQ(forest.segment_offsets, (Ids{0, 5}));
  EXPECT_EQ(forest.last, (Ids{1, 4, 0, 2}));
  EXPECT_EQ(read_back(forest), sequences);
}

TEST(PrefixForest, EndsASequenceWithinASharedSegmentOrBeforeIt) {
  const Sequences sequences{{1, 1, 1, 1, 2}, {1, 1, 1, 1, 3}, {1, 1}, {1, 1, 1, 1}};
  const PrefixForest forest = forest_of(sequences, 4);
  EXPECT_EQ(forest.segment_offsets, (Ids{0, 4, 5, 6}));
  EXPECT_EQ(forest.last, (Ids{4, 5, 1, 3}));
  EXPECT_EQ(read_back(forest), sequences);
}

TEST(PrefixForest, CopiesWhatIsTooShortToShare) {
  const Sequences sequences{{1, 2, 3}, {1, 2, 4}, {1, 5}};
  EXPECT_EQ(forest_of(sequences, 3).segment_parents, (Ids{-1, -1, -1}));
  EXPECT_EQ(forest_of(sequences, 3).tokens.size(), 8U);
  const PrefixForest forest = forest_of(sequences, 2);  // {1} alone is too short, {1, 2} is not
  EXPECT_EQ(forest.tokens, (Ids{1, 2, 3, 4, 1, 5}));
  EXPECT_EQ(forest.segment_parents, (Ids{-1, 0, 0, -1}));
  EXPECT_EQ(read_back(forest), sequences);
}

TEST(PrefixForest, MeasuresABranchFromItsParentsEnd) {
  // {1, 1, 1} is shared by all; below it {1} is too short and {2, 2, 2} is not.
  const Sequences sequences{
      {1, 1, 1, 1, 7}, {1, 1, 1, 1, 8}, {1, 1, 1, 2, 2, 2, 7}, {1, 1, 1, 2, 2, 2, 8}};
  const PrefixForest forest = forest_of(sequences, 3);
  EXPECT_EQ(forest.tokens, (Ids{1, 1, 1, 1, 7, 1, 8, 2, 2, 2, 7, 8}));
  EXPECT_EQ(forest.segment_parents, (Ids{-1, 0, 0, 0, 3, 3}));
  EXPECT_EQ(read_back(forest), sequences);
}

TEST(PrefixForest, GivesEverySequenceATailOfItsOwn) {
  const Sequences sequences{{1, 2, 3}, {1, 2, 3}, {1, 2}, {1, 2, 3, 4}};
  const PrefixForest forest = forest_of(sequences, 1, 1);
  // {1}, below it {2}, the leaf of {1, 2} first, then those of {1, 2, 3}, and {3, 4} is one leaf
  EXPECT_EQ(forest.tokens, (Ids{1, 2, 2, 3, 3, 3, 4}));
  EXPECT_EQ(forest.segment_offsets, (Ids{0, 1, 2, 3, 4, 5, 7}));
  EXPECT_EQ(forest.segment_parents, (Ids{-1, 0, 0, 2, 2, 2}));
  EXPECT_EQ(forest.last, (Ids{3, 4, 1, 6}));
  EXPECT_EQ(read_back(forest), sequences);
  const PrefixForest longer = forest_of({{1, 2, 3}, {1, 2, 3}}, 1, 2);
  EXPECT_EQ(longer.segment_offsets, (Ids{0, 1, 3, 5}));
  const PrefixForest all = forest_of({{1, 2}, {1, 2}}, 1, 9);
  EXPECT_EQ(all.segment_parents, (Ids{-1, -1}));
}

TEST(PrefixForest, TakesSequencesOfOneToken) {
  const PrefixForest forest = forest_of({{2}, {1}, {2}});
  EXPECT_EQ(forest.tokens, (Ids{1, 2}));
  EXPECT_EQ(forest.last, (Ids{1, 0, 1}));
  EXPECT_EQ(forest_of({{2}, {1}, {2}}, 1, 1).last, (Ids{1, 0, 2}));
}

TEST(PrefixForest, StandsAThousandLevels) {
  Sequences sequences;
  for (int32_t i = 1; i <= 1000; ++i) sequences.push_back(std::vector<int32_t>(i, 7));
  const PrefixForest forest = forest_of(sequences, 1, 1);
  EXPECT_EQ(forest.tokens.size(), 1999U);  // a path of 998, a leaf of two and 999 of one
  EXPECT_EQ(read_back(forest), sequences);
}

TEST(PrefixForest, RefusesOptionsOutOfRange) {
  EXPECT_THROW(forest_of({{1}}, 0), std::invalid_argument);
  EXPECT_THROW(forest_of({{1}}, 1, -1), std::invalid_argument);
}

TEST(PrefixOrder, AscendsByWhatMayBeSharedThenByTheRest) {
  const Sequences sequences{{1, 5}, {1, 3, 2}, {1, 4}, {1, 3, 2}, {}};
  const std::vector<TokenSpan> spans(sequences.begin(), sequences.end());
  EXPECT_EQ(prefix_order(spans), (Ids{4, 1, 3, 2, 0}));
  EXPECT_EQ(prefix_order(spans, 1), (Ids{4, 2, 0, 1, 3}));
}

TEST(PathTo, ReadsFromTheRootToAnyToken) {
  const Ids offsets{0, 2, 5, 6}, parents{-1, 0, 0};
  EXPECT_EQ(path_to(offsets, parents, 3), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(path_to(offsets, parents, 5), (Ids{0, 1, 5}));
  EXPECT_EQ(path_to(offsets, parents, 0), Ids{0});
  EXPECT_EQ(segment_of(offsets, 4), 1);
}

}  // namespace
}  // namespace notellm
