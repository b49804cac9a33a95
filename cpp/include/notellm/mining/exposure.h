#pragma once

#include <cstdint>
#include <vector>

#include "notellm/mining/interactions.h"
#include "notellm/util/progress.h"

namespace notellm {

/// How often the log shows each of N notes; all events count, whatever mining leaves out.
struct Exposure {
  std::vector<int64_t> events;  ///< (N) events of the note
  std::vector<int64_t> views;   ///< (N) of these, views; all of them in a log without event types
  std::vector<int64_t> clicks;  ///< (N) of these, clicks; all of them in a log without event types
  std::vector<int64_t> users;   ///< (N) distinct users who viewed or clicked the note
};

/// Counts the events and users of each note.
///
/// @param progress  called with (0, N) now and then.
/// @param threads   0 = `num_threads()`; the result does not depend on it.
/// Cost: O(E) time; O(N) memory for each thread.
Exposure count_exposure(const UserEvents& log, const ProgressFn& progress = {}, int threads = 0);

}  // namespace notellm
