#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "large_vector.h"
#include "notellm/mining/cooccurrence.h"

namespace notellm::internal {

/// One user's clicks that can be second in a pair, with what each of them adds in front of them:
/// who follows a view to its user finds all in one place.
class UserClicks {
 public:
  static constexpr int64_t kNumbersInRow = 4;

  explicit UserClicks(const int32_t* begin) : begin_(begin) {}

  /// Numbers before the clicks: 1 / N_i in units (two numbers), how many clicks, N_i.
  static std::array<int32_t, kNumbersInRow> header(int64_t count, int32_t distinct) {
    const int64_t unit = ((int64_t{1} << kScoreUnitBits) + distinct / 2) / distinct;
    const auto halves = std::bit_cast<std::array<int32_t, 2>>(unit);
    return {halves[0], halves[1], static_cast<int32_t>(count), distinct};
  }

  /// Rows of numbers for so many clicks and what is in front of them.
  static int64_t rows(int64_t count) { return 1 + (count + kNumbersInRow - 1) / kNumbersInRow; }

  const int32_t* begin() const { return begin_; }
  int64_t unit() const { return std::bit_cast<int64_t>(std::array{begin_[0], begin_[1]}); }
  int32_t distinct() const { return begin_[3]; }
  std::span<const int32_t> clicks() const {
    return {begin_ + kNumbersInRow, static_cast<size_t>(begin_[2])};
  }

 private:
  const int32_t* begin_;
};

/// One user's view of a note: of the user's clicks those from `from` on follow it.
struct View {
  uint32_t user;  ///< the row where the user's clicks begin
  int32_t from;
};

/// A log regrouped by viewed note, so that all pairs (A, .) can be summed without reading those of
/// other sources. In `clicks` notes have other numbers, by falling number of events, so that the
/// sums of notes that occur often lie together.
struct ViewIndex {
  LargeVector<int32_t> clicks;    ///< user by user, from a new row on; notes are given by place
  std::vector<int64_t> offsets;   ///< (N + 1) note A owns views [offsets[A], offsets[A + 1])
  LargeVector<View> views;        ///< grouped by viewed note, then by user, then in order
  LargeVector<int32_t> counts;    ///< with a gap limit: how many clicks follow each view closely
  std::vector<int32_t> note_at;   ///< (N) the note at each place
  std::vector<int32_t> place_of;  ///< (N) the place of each note
  std::vector<int32_t> viewers;   ///< (N) by note, and
  std::vector<int32_t> clickers;  ///< (N) by place: distinct users; empty if no score needs them
  int64_t people = 0;             ///< users with events, without those left out
  bool has_gap_limit = false;  ///< then a user may have several views of a note, with equal clicks

  UserClicks user_of(const View& view) const {
    return UserClicks(&clicks[UserClicks::kNumbersInRow * view.user]);
  }

  /// The user's clicks that follow a view.
  std::span<const int32_t> clicks_after(int64_t view) const {
    const auto all = user_of(views[view]).clicks().subspan(views[view].from);
    return has_gap_limit ? all.first(counts[view]) : all;
  }
};

/// Builds the index and fills in the report's counts of users, events and notes without events.
///
/// Without a gap limit a pair (A, B) exists when the first view of A precedes the last click of B,
/// so only those events are kept. With one, every view is.
///
/// @param events  (N) events of each note in this log.
ViewIndex index_views(const UserEvents& log,
                      const std::vector<int64_t>& events,
                      const MiningOptions& options,
                      const ProgressFn& progress,
                      MiningReport& report);

}  // namespace notellm::internal
