#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/util/progress.h"

namespace notellm {

/// A log as its owner keeps it: E events in file order, borrowed.
struct InteractionLog {
  std::span<const int64_t> users;  ///< (E) in [0, user_count)
  std::span<const int64_t> notes;  ///< (E) in [0, note_count)
  std::span<const int64_t> times;  ///< (E) any integer unit; empty: file order is all there is
  std::span<const int8_t> events;  ///< (E) 0 view, 1 click; empty: each event is both
  int64_t user_count = 0;          ///< at most 2^31 - 1
  int64_t note_count = 0;          ///< at most 2^31 - 1
  bool is_ordered = true;          ///< false: every user's events are a set, a basket
};

/// The same events grouped by user, each user's in order: a checked CSR.
struct UserEvents {
  std::vector<int64_t> offsets;  ///< (U + 1) user u owns events [offsets[u], offsets[u + 1])
  std::vector<int32_t> notes;    ///< (E)
  std::vector<int64_t> times;    ///< (E) or empty; ascending within a user of an ordered log
  std::vector<int8_t> events;    ///< (E) or empty
  int64_t note_count = 0;
  bool is_ordered = true;

  int64_t user_count() const { return static_cast<int64_t>(offsets.size()) - 1; }
  bool is_view(int64_t event) const { return events.empty() || events[event] == 0; }
  bool is_click(int64_t event) const { return events.empty() || events[event] == 1; }
};

/// Groups a log by user. Users keep their events in time order; events of equal time, and those of
/// a log without times, stay in file order.
///
/// @param progress  told (0, note_count) now and then, since mining counts source notes.
/// @throws std::invalid_argument  if columns differ in length, or a user, note or event is out of
///                                range; the message names the event's row.
/// Cost: O(E + U) time and memory; users whose events are out of time order are sorted.
UserEvents group_by_user(const InteractionLog& log, const ProgressFn& progress = {});

}  // namespace notellm
