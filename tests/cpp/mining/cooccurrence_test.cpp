#include "notellm/mining/cooccurrence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "notellm/util/check.h"

namespace notellm {
namespace {

using Ints = std::vector<int64_t>;

// User 0 reads 0 1 2 0, user 1 reads 1 0.
struct SmallLog {
  Ints users = {0, 0, 0, 0, 1, 1}, notes = {0, 1, 2, 0, 1, 0}, times = {0, 10, 20, 30, 5, 6};
  UserEvents grouped() const { return group_by_user({users, notes, times, {}, 2, 3, true}); }
};

MiningOptions keep_all() {
  MiningOptions options;
  options.lower = 0;
  options.upper = std::numeric_limits<double>::infinity();
  options.top = 0;
  return options;
}

TEST(MineCooccurrence, SumsTheInverseOfDistinctClicksOnceAUser) {
  const Cooccurrence mined = mine_cooccurrence(SmallLog().grouped(), keep_all());
  const double third = std::round(std::ldexp(1.0, 40) / 3) / std::ldexp(1.0, 40);
  EXPECT_EQ(mined.scores.coeff(0, 1), third);
  EXPECT_EQ(mined.scores.coeff(0, 2), third);
  EXPECT_EQ(mined.scores.coeff(1, 0), third + 0.5);
  EXPECT_EQ(mined.scores.coeff(1, 2), third);
  EXPECT_EQ(mined.scores.coeff(2, 0), third);
  EXPECT_EQ(mined.scores.nonZeros(), 5);
  EXPECT_EQ(mined.users, (Ints{1, 1, 2, 1, 1}));
}

TEST(MineCooccurrence, KeepsBoundsThatAreMetExactly) {
  MiningOptions options = keep_all();
  options.lower = options.upper = 0.5;
  const Ints users = {0, 0}, notes = {0, 1};
  const UserEvents log = group_by_user({users, notes, {}, {}, 1, 2, true});
  EXPECT_EQ(mine_cooccurrence(log, options).report.pairs_kept, 1);
  options.lower = options.upper = 0.5 + std::ldexp(1.0, -40);
  const MiningReport report = mine_cooccurrence(log, options).report;
  EXPECT_EQ(report.pairs_kept, 0);
  EXPECT_EQ(report.pairs_below_lower, 1);
}

TEST(MineCooccurrence, TakesTheLowerNoteAmongEqualScores) {
  MiningOptions options = keep_all();
  options.top = 2;
  const Ints users = {0, 0, 0, 0}, notes = {0, 3, 2, 1};
  const Cooccurrence mined =
      mine_cooccurrence(group_by_user({users, notes, {}, {}, 1, 4, true}), options);
  EXPECT_GT(mined.scores.coeff(0, 1), 0);
  EXPECT_GT(mined.scores.coeff(0, 2), 0);
  EXPECT_EQ(mined.scores.coeff(0, 3), 0);
  EXPECT_EQ(mined.report.pairs_beyond_top, 1);
}

TEST(MineCooccurrence, LimitsTheGapInTimeAndEvents) {
  MiningOptions options = keep_all();
  options.max_gap_events = 1;
  EXPECT_EQ(mine_cooccurrence(SmallLog().grouped(), options).report.pairs_kept, 4);
  options.max_gap_events = 0;
  options.max_gap_seconds = 9;
  EXPECT_EQ(mine_cooccurrence(SmallLog().grouped(), options).report.pairs_kept, 1);
}

TEST(MineCooccurrence, TakesTimesFromOneEndOfInt64ToTheOther) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const Ints users = {0, 0}, notes = {0, 1}, times = {kMin, kMax};
  MiningOptions options = keep_all();
  options.max_gap_seconds = kMax;
  const UserEvents log = group_by_user({users, notes, times, {}, 1, 2, true});
  EXPECT_EQ(mine_cooccurrence(log, options).report.pairs_found, 0);
}

TEST(MineCooccurrence, LeavesOutLongUsersWhole) {
  MiningOptions options = keep_all();
  options.max_user_events = 3;
  const Cooccurrence mined = mine_cooccurrence(SmallLog().grouped(), options);
  EXPECT_EQ(mined.report.users_too_long, 1);
  EXPECT_EQ(mined.report.events_of_long_users, 4);
  EXPECT_EQ(mined.scores.nonZeros(), 1);
  EXPECT_EQ(mined.scores.coeff(1, 0), 0.5);
  EXPECT_EQ(mined.report.notes_without_partner, 2);
}

// Users 0, 1 and 2 have the notes 0 and 1; users 0 and 1 have note 2, too.
TEST(MineCooccurrence, SwingAddsUpPairsOfUsers) {
  const Ints users = {0, 0, 0, 1, 1, 1, 2, 2}, notes = {0, 1, 2, 0, 1, 2, 0, 1};
  MiningOptions options = keep_all();
  options.score = PairScore::kSwing;
  options.swing_alpha = 0.5;
  options.sample_note_users = 3;
  const Cooccurrence mined =
      mine_cooccurrence(group_by_user({users, notes, {}, {}, 3, 3, false}), options);
  const double far = 2 / std::sqrt(6.0) / 2.5, near = 1.0 / 3 / 3.5;
  EXPECT_NEAR(mined.scores.coeff(0, 1), far + near, 1e-11);
  EXPECT_NEAR(mined.scores.coeff(0, 2), near, 1e-11);
  EXPECT_EQ(mined.scores.coeff(2, 0), mined.scores.coeff(0, 2));
  EXPECT_EQ(mined.users, (Ints{3, 2, 3, 2, 2, 2}));
  EXPECT_EQ(mined.report.notes_sampled, 0);
}

TEST(MineCooccurrence, KeepsSamplesOfTheNotesOfAUserAndTheUsersOfANote) {
  MiningOptions options = keep_all();
  options.sample_user_notes = 2;
  Cooccurrence mined = mine_cooccurrence(SmallLog().grouped(), options);
  EXPECT_EQ(mined.report.users_sampled, 1);
  EXPECT_EQ(mined.report.events, 6);
  EXPECT_GE(mined.report.events_of_sampled_users, 1);
  options.sample_user_notes = 0;
  options.sample_note_users = 1;
  mined = mine_cooccurrence(SmallLog().grouped(), options);
  EXPECT_EQ(mined.report.notes_sampled, 2);
  for (const int64_t users : mined.users) EXPECT_EQ(users, 1);
  EXPECT_EQ(mined.exposure.events, (Ints{3, 2, 1}));
  EXPECT_EQ(mined.exposure.users, (Ints{2, 2, 1}));
}

TEST(MineCooccurrence, StopsWhenProgressSaysSo) {
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(mine_cooccurrence(SmallLog().grouped(), {}, stop), Interrupted);
}

TEST(MineCooccurrence, RejectsOptionsOutOfRange) {
  const UserEvents log = SmallLog().grouped();
  MiningOptions options;
  options.lower = 31;
  EXPECT_THROW(mine_cooccurrence(log, options), std::invalid_argument);
  options.lower = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(mine_cooccurrence(log, options), std::invalid_argument);
  options = {};
  options.min_users = 0;
  EXPECT_THROW(mine_cooccurrence(log, options), std::invalid_argument);
  options = {};
  options.score = PairScore::kSwing;
  EXPECT_THROW(mine_cooccurrence(log, options), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
