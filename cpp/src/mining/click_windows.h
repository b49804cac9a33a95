#pragma once

#include <cstdint>
#include <vector>

#include "notellm/mining/cooccurrence.h"

namespace notellm::internal {

/// The clicks of one user that follow one of their views: clicks [begin, begin + count).
struct ClickWindow {
  int64_t begin;
  int32_t count;
  int32_t user;
};

/// A log regrouped by viewed note, so that all pairs (A, .) can be summed without reading those of
/// other sources.
struct ClickWindows {
  std::vector<int32_t> clicks;       ///< notes clicked, user by user, in order
  std::vector<int64_t> units;        ///< (U) 1 / N_i in units of 2^-40
  std::vector<int64_t> offsets;      ///< (N + 1) note A owns windows [offsets[A], offsets[A + 1])
  std::vector<ClickWindow> windows;  ///< grouped by viewed note, then by user, then in order
  bool may_repeat = false;           ///< a user's windows of one note may share clicks
};

/// Builds the windows and fills in the report's counts of users, events and notes without events.
///
/// Without a gap limit a pair (A, B) exists when the first view of A precedes the last click of B,
/// so only those events are kept. With one, every view has its own window.
ClickWindows build_click_windows(const UserEvents& log,
                                 const MiningOptions& options,
                                 const ProgressFn& progress,
                                 MiningReport& report);

}  // namespace notellm::internal
