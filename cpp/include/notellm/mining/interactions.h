#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/util/progress.h"

namespace notellm {

/// A log of E events in file order. It refers to the caller's arrays and owns none.
struct InteractionLog {
  std::span<const int64_t> users;  ///< (E) in [0, user_count)
  std::span<const int64_t> notes;  ///< (E) in [0, note_count)
  std::span<const int64_t> times;  ///< (E) in any integer unit; empty: only the file order is known
  std::span<const int8_t> events;  ///< (E) 0 view, 1 click; empty: each event counts as both
  int64_t user_count = 0;          ///< at most 2^31 - 1
  int64_t note_count = 0;          ///< at most 2^31 - 1
  bool is_ordered = true;  ///< false: every user's events are a set without order (a basket)
};

/// The same events, checked and grouped by user in CSR form; each user's events are in order.
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

/// Groups a log by user. Each user's events are sorted by time; events with equal times, and those
/// of a log without times, stay in file order.
///
/// @param progress  called with (0, note_count) now and then: the unit of progress in mining is the
///                  source note, and none is done yet.
/// @param threads   0 = `num_threads()`; the result does not depend on it.
/// @throws std::invalid_argument  if columns differ in length, or a user, note or event is out of
///                                range; the message names the event's row.
/// Cost: O(E + U) time and memory; users whose events are out of time order are sorted.
UserEvents group_by_user(const InteractionLog& log,
                         const ProgressFn& progress = {},
                         int threads = 0);

}  // namespace notellm
