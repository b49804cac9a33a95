#include "notellm/mining/interactions.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace notellm {
namespace {

using Ints = std::vector<int64_t>;

TEST(GroupByUser, SortsByTimeAndKeepsFileOrderAmongEqualTimes) {
  const Ints users = {1, 0, 1, 1, 1}, notes = {3, 2, 0, 1, 2}, times = {5, 9, 5, -7, 6};
  const UserEvents grouped = group_by_user({users, notes, times, {}, 2, 4, true});
  EXPECT_EQ(grouped.offsets, (Ints{0, 1, 5}));
  EXPECT_EQ(grouped.notes, (std::vector<int32_t>{2, 1, 3, 0, 2}));
  EXPECT_EQ(grouped.times, (Ints{9, -7, 5, 5, 6}));
}

TEST(GroupByUser, KeepsTheEventsOfABasketInFileOrder) {
  const Ints users = {0, 0}, notes = {1, 0}, times = {9, 1};
  const UserEvents grouped = group_by_user({users, notes, times, {}, 1, 2, false});
  EXPECT_EQ(grouped.notes, (std::vector<int32_t>{1, 0}));
}

TEST(GroupByUser, AcceptsAnEmptyLogAndUsersWithoutEvents) {
  const UserEvents grouped = group_by_user({{}, {}, {}, {}, 3, 2, true});
  EXPECT_EQ(grouped.user_count(), 3);
  EXPECT_EQ(grouped.offsets, (Ints{0, 0, 0, 0}));
}

std::string error_of(const InteractionLog& log) {
  try {
    group_by_user(log);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

TEST(GroupByUser, NamesTheRowThatIsWrong) {
  const Ints good = {0, 1}, bad = {0, 2}, one = {0};
  const std::vector<int8_t> events = {1, 7};
  EXPECT_EQ(error_of({bad, good, {}, {}, 2, 2, true}),
            "mine_pairs: users must be in [0, 2), but row 1 is 2");
  EXPECT_EQ(error_of({good, bad, {}, {}, 2, 2, true}),
            "mine_pairs: notes must be in [0, 2), but row 1 is 2");
  EXPECT_EQ(error_of({good, good, {}, events, 2, 2, true}),
            "mine_pairs: events must be 0 (view) or 1 (click), but row 1 is 7");
  EXPECT_EQ(
      error_of({good, good, one, {}, 2, 2, true}),
      "mine_pairs: the columns of a log must have the same length, but have 2 users, 2 notes, "
      "1 times and 0 events");
}

}  // namespace
}  // namespace notellm
