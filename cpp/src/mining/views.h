#pragma once

#include <cstdint>
#include <vector>

#include "large_vector.h"
#include "notellm/mining/cooccurrence.h"

namespace notellm::internal {

/// The clicks of one user that can be second in a pair: clicks [begin, begin + count), in order.
struct UserClicks {
  int64_t begin = 0;
  int32_t count = 0;
  int32_t distinct = 0;  ///< N_i
};

/// One user's view of a note: of the user's clicks those from `from` on follow it.
struct View {
  int32_t user;
  int32_t from;
};

/// A log regrouped by viewed note, so that all pairs (A, .) can be summed without reading those of
/// other sources. In `clicks` notes have other numbers, by falling number of events, so that the
/// sums of notes that occur often lie together.
struct ViewIndex {
  LargeVector<int32_t> clicks;    ///< places of the notes clicked, user by user, in order
  LargeVector<UserClicks> users;  ///< (U)
  std::vector<int64_t> offsets;   ///< (N + 1) note A owns views [offsets[A], offsets[A + 1])
  LargeVector<View> views;        ///< grouped by viewed note, then by user, then in order
  LargeVector<int32_t> counts;    ///< with a gap limit: how many clicks follow each view closely
  std::vector<int32_t> note_at;   ///< (N) the note at each place
  std::vector<int32_t> place_of;  ///< (N) the place of each note
  std::vector<int32_t> viewers;   ///< (N) by note, and
  std::vector<int32_t> clickers;  ///< (N) by place: distinct users; empty if no score needs them
  int64_t people = 0;             ///< users with events, without those left out
  bool has_gap_limit = false;  ///< then a user may have several views of a note, with equal clicks

  int32_t clicks_after(int64_t view) const {
    return has_gap_limit ? counts[view] : users[views[view].user].count - views[view].from;
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
