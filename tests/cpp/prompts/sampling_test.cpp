#include "notellm/prompts/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "notellm/prompts/permutation.h"

namespace notellm {
namespace {

constexpr int64_t kPairs = 23;

// Pair p is notes 2p and 2p + 1; note i has i % 8 hashtags, so one note in eight has none.
PairSampler sampler(SamplingOptions options) {
  std::vector<int64_t> sources, targets, counts;
  for (int64_t p = 0; p < kPairs; ++p) {
    sources.push_back(2 * p);
    targets.push_back(2 * p + 1);
  }
  for (int64_t i = 0; i < 2 * kPairs; ++i) counts.push_back(i % 8);
  return {sources, targets, counts, options};
}

int64_t count_hashtag_tasks(const PlannedBatch& batch) {
  return std::count_if(batch.prompts.begin(), batch.prompts.end(),
                       [](const NotePrompt& prompt) { return prompt.task == Task::kHashtags; });
}

void expect_same(const PlannedBatch& a, const PlannedBatch& b) {
  EXPECT_EQ(a.note_ids, b.note_ids);
  EXPECT_EQ(a.hashtag_shortfall, b.hashtag_shortfall);
  for (size_t i = 0; i < a.prompts.size(); ++i) {
    EXPECT_EQ(a.prompts[i].task, b.prompts[i].task);
    EXPECT_EQ(a.prompts[i].chosen, b.prompts[i].chosen);
  }
}

TEST(Permuted, IsAPermutationOfAnySize) {
  for (const uint64_t count : {1, 2, 3, 4, 5, 16, 17, 100, 1000, 4097}) {
    std::vector<bool> seen(count, false);
    for (uint64_t i = 0; i < count; ++i) seen[permuted(i, count, 3, 1, 4)] = true;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), true), static_cast<int64_t>(count)) << count;
  }
}

TEST(Permuted, SendsEachElementEverywhereEvenly) {
  for (const uint64_t count : {2, 5, 23}) {
    std::vector<int> hits(count, 0);
    const int draws = 2000 * static_cast<int>(count);
    for (int epoch = 0; epoch < draws; ++epoch) ++hits[permuted(1, count, 9, 1, epoch)];
    for (const int hit : hits) EXPECT_NEAR(hit, 2000, 250) << count;  // five standard deviations
  }
}

TEST(PairSampler, GoesThroughEveryPairOnceAnEpoch) {
  const PairSampler draw = sampler({.pairs_per_step = 1, .seed = 5});
  ASSERT_EQ(draw.steps_per_epoch(), kPairs);
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> order;
    for (int64_t step = 0; step < kPairs; ++step) {
      const auto notes = draw.plan(epoch * kPairs + step).note_ids;
      EXPECT_EQ(notes[1], notes[0] + 1);
      order.push_back(notes[0] / 2);
    }
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), static_cast<size_t>(kPairs));
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST(PairSampler, DropsTheIncompleteLastBatch) {
  const PairSampler draw = sampler({.pairs_per_step = 4});
  ASSERT_EQ(draw.steps_per_epoch(), 5);
  std::set<int64_t> notes;
  for (int64_t step = 0; step < 5; ++step) {
    for (const int64_t note : draw.plan(step).note_ids) notes.insert(note);
  }
  EXPECT_EQ(notes.size(), 40U);
}

TEST(PairSampler, PlansTheSameInAnyOrder) {
  const SamplingOptions options{.pairs_per_step = 4, .seed = 8};
  const PairSampler once = sampler(options), again = sampler(options);
  std::vector<PlannedBatch> forward;
  for (int64_t step = 0; step < 12; ++step) forward.push_back(once.plan(step));
  for (int64_t step = 11; step >= 0; --step) expect_same(again.plan(step), forward[step]);
}

TEST(PairSampler, GivesTheWantedShareTheHashtagTask) {
  for (const double share : {0.0, 0.25, 0.4, 0.5}) {
    const PairSampler draw = sampler({.pairs_per_step = 10, .hashtag_ratio = share});
    for (int64_t step = 0; step < 6; ++step) {
      const PlannedBatch batch = draw.plan(step);
      EXPECT_EQ(count_hashtag_tasks(batch), static_cast<int64_t>(share * 20 + 0.5));
      EXPECT_EQ(batch.hashtag_shortfall, 0);
    }
  }
}

TEST(PairSampler, CountsTheShortfall) {
  const PairSampler draw = sampler({.pairs_per_step = 23, .hashtag_ratio = 1.0});
  const PlannedBatch batch = draw.plan(0);
  EXPECT_EQ(batch.hashtag_shortfall, 6);  // notes 0, 8, ..., 40 have none
  EXPECT_EQ(count_hashtag_tasks(batch), 40);
  for (const NotePrompt& prompt : batch.prompts) {
    EXPECT_EQ(prompt.task == Task::kCategory, prompt.note % 8 == 0);
  }
}

TEST(PairSampler, DrawsTheTaskEvenlyAmongTaggedNotes) {
  const PairSampler draw = sampler({.pairs_per_step = 23, .hashtag_ratio = 0.5});
  std::map<int64_t, int> tasks;
  for (int64_t step = 0; step < 1000; ++step) {
    for (const NotePrompt& prompt : draw.plan(step).prompts) {
      if (prompt.task == Task::kHashtags) ++tasks[prompt.note];
    }
  }
  EXPECT_EQ(tasks.size(), 40U);
  for (const auto& [note, count] : tasks) EXPECT_NEAR(count, 575, 80) << note;  // 23 of 40
}

TEST(PairSampler, FollowsTheCountPolicy) {
  const auto counts = [](CountPolicy policy, int max_count) {
    std::map<int64_t, std::set<int>> seen;  // by the note's number of hashtags
    const PairSampler draw = sampler(
        {.pairs_per_step = 23, .hashtag_ratio = 1, .count_policy = policy, .max_count = max_count});
    for (int64_t step = 0; step < 200; ++step) {
      for (const NotePrompt& prompt : draw.plan(step).prompts) {
        if (prompt.task == Task::kCategory) continue;
        EXPECT_EQ(prompt.count, std::ssize(prompt.chosen));
        seen[prompt.note % 8].insert(prompt.count);
      }
    }
    return seen;
  };
  using Counts = std::set<int>;
  const auto one = counts(CountPolicy::kOne, 5);
  EXPECT_EQ(one.at(1), Counts{1});
  EXPECT_EQ(one.at(7), Counts{1});
  const auto uniform = counts(CountPolicy::kUniform, 5);
  EXPECT_EQ(uniform.at(1), Counts{1});
  EXPECT_EQ(uniform.at(3), (Counts{1, 2, 3}));
  EXPECT_EQ(uniform.at(7), (Counts{1, 2, 3, 4, 5}));
  const auto all = counts(CountPolicy::kAll, 6);
  EXPECT_EQ(all.at(3), Counts{3});
  EXPECT_EQ(all.at(7), Counts{6});
}

TEST(PairSampler, ChoosesDifferentHashtagsInRandomOrder) {
  const PairSampler draw = sampler({.pairs_per_step = 23,
                                    .hashtag_ratio = 1,
                                    .count_policy = CountPolicy::kAll,
                                    .max_count = 2});
  std::map<std::vector<int32_t>, int> pairs_of_three;
  for (int64_t step = 0; step < 1000; ++step) {
    for (const NotePrompt& prompt : draw.plan(step).prompts) {
      if (prompt.note % 8 == 3) ++pairs_of_three[prompt.chosen];
    }
  }
  EXPECT_EQ(pairs_of_three.size(), 6U);  // 3 * 2 ordered choices, six notes, 1000 steps
  for (const auto& [chosen, count] : pairs_of_three) EXPECT_NEAR(count, 1000, 150);
}

// Pair p has p % 4 negatives: notes 0, 1, ...
PairNegatives negatives_of_pairs() {
  PairNegatives negatives{{0}, {}};
  for (int64_t p = 0; p < kPairs; ++p) {
    for (int64_t note = 0; note < p % 4; ++note) negatives.notes.push_back(note);
    negatives.offsets.push_back(std::ssize(negatives.notes));
  }
  return negatives;
}

PairSampler sampler_with_negatives(int64_t negatives_per_pair) {
  std::vector<int64_t> sources(kPairs, 3), targets;
  for (int64_t p = 0; p < kPairs; ++p) targets.push_back(4 + p);  // so the target names the pair
  const SamplingOptions options{.pairs_per_step = 7, .negatives_per_pair = negatives_per_pair};
  return {sources, targets, std::vector<int64_t>(4 + kPairs, 2), options, negatives_of_pairs()};
}

TEST(PairSampler, BringsNegativesBehindThePairs) {
  const PairSampler draw = sampler_with_negatives(2);
  for (int64_t step = 0; step < 6; ++step) {
    const PlannedBatch batch = draw.plan(step);
    ASSERT_EQ(batch.pairs(), 7);
    ASSERT_EQ(std::ssize(batch.note_ids), 14 + batch.negative_offsets.back());
    ASSERT_EQ(batch.prompts.size(), batch.note_ids.size());
    for (int64_t b = 0; b < 7; ++b) {
      const int64_t pair = batch.note_ids[2 * b + 1] - 4;
      const int64_t begin = 14 + batch.negative_offsets[b];
      const int64_t end = 14 + batch.negative_offsets[b + 1];
      EXPECT_EQ(end - begin, std::min<int64_t>(2, pair % 4));
      std::set<int64_t> notes;
      for (int64_t row = begin; row < end; ++row) {
        EXPECT_LT(batch.note_ids[row], pair % 4);
        EXPECT_EQ(batch.prompts[row].note, batch.note_ids[row]);
        EXPECT_EQ(batch.prompts[row].task, Task::kCategory);
        EXPECT_FALSE(batch.prompts[row].writes);
        notes.insert(batch.note_ids[row]);
      }
      EXPECT_EQ(std::ssize(notes), end - begin);
    }
  }
}

TEST(PairSampler, DrawsEveryNegativeEquallyOften) {
  const PairSampler draw = sampler_with_negatives(1);
  std::map<std::pair<int64_t, int64_t>, int> drawn;  // by pair and negative
  for (int64_t step = 0; step < 3000; ++step) {
    const PlannedBatch batch = draw.plan(step);
    for (int64_t b = 0; b < 7; ++b) {
      const int64_t row = 14 + batch.negative_offsets[b];
      if (batch.negative_offsets[b + 1] > batch.negative_offsets[b]) {
        ++drawn[{batch.note_ids[2 * b + 1] - 4, batch.note_ids[row]}];
      }
    }
  }
  for (const auto& [pair_and_note, count] : drawn) {
    const int64_t owned = pair_and_note.first % 4;
    EXPECT_NEAR(count, 913.0 / owned, 110) << owned;  // 3000 * 7 / 23 draws; five deviations
  }
  EXPECT_EQ(std::ssize(drawn), std::ssize(negatives_of_pairs().notes));
}

TEST(PairSampler, DrawsPairsAndTasksAsWithoutNegatives) {
  const PlannedBatch with = sampler_with_negatives(3).plan(5);
  PlannedBatch without = sampler_with_negatives(0).plan(5);
  EXPECT_EQ(std::ssize(without.note_ids), 14);
  EXPECT_EQ(without.pairs(), 7);
  for (int64_t row = 0; row < 14; ++row) {
    EXPECT_EQ(with.note_ids[row], without.note_ids[row]);
    EXPECT_EQ(with.prompts[row].task, without.prompts[row].task);
    EXPECT_EQ(with.prompts[row].chosen, without.prompts[row].chosen);
    EXPECT_TRUE(with.prompts[row].writes);
  }
}

TEST(PairSampler, ChangesWithTheSeed) {
  EXPECT_NE(sampler({.pairs_per_step = 23, .seed = 1}).plan(0).note_ids,
            sampler({.pairs_per_step = 23, .seed = 2}).plan(0).note_ids);
}

TEST(PairSampler, RefusesWhatItCannotSample) {
  EXPECT_THROW(sampler({.pairs_per_step = 24}), std::invalid_argument);
  EXPECT_THROW(sampler({.pairs_per_step = 0}), std::invalid_argument);
  EXPECT_THROW(sampler({.pairs_per_step = 1, .hashtag_ratio = 1.1}), std::invalid_argument);
  EXPECT_THROW(sampler({.pairs_per_step = 1, .max_count = 0}), std::invalid_argument);
  EXPECT_THROW(sampler({.pairs_per_step = 1}).plan(-1), std::invalid_argument);
  EXPECT_THROW(PairSampler({0}, {1, 2}, {0, 0, 0}, {.pairs_per_step = 1}), std::invalid_argument);
  EXPECT_THROW(PairSampler({0}, {1}, {0, -1}, {.pairs_per_step = 1}), std::invalid_argument);
  EXPECT_THROW(PairSampler({0}, {2}, {0, 0}, {.pairs_per_step = 1}), std::out_of_range);
  const auto with = [](int64_t per_pair, PairNegatives negatives) {
    PairSampler({0}, {1}, {0, 0}, {.pairs_per_step = 1, .negatives_per_pair = per_pair}, negatives);
  };
  EXPECT_THROW(with(-1, {}), std::invalid_argument);
  EXPECT_THROW(with(1, {{0, 1}, {2}}), std::out_of_range);
  for (const PairNegatives& wrong : std::vector<PairNegatives>{
           {{0}, {}}, {{1, 1}, {0}}, {{0, 2}, {0}}, {{0, 1, 0}, {}}, {{}, {0}}}) {
    EXPECT_THROW(with(1, wrong), std::invalid_argument);
  }
}

}  // namespace
}  // namespace notellm
