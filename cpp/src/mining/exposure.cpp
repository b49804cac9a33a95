#include "notellm/mining/exposure.h"

#include <algorithm>

#include "large_vector.h"
#include "notellm/util/parallel.h"
#include "shares.h"

namespace notellm {
namespace {

// All counts of a note lie together: an event reads memory once.
struct Counts {
  int64_t events = 0;
  int64_t views = 0;
  int32_t users = 0;
  int32_t last_user = -1;
};

LargeVector<Counts> count(const UserEvents& log, const internal::UserRange& range) {
  LargeVector<Counts> counts(log.note_count);
  for (int64_t user = range.first; user < range.last; ++user) {
    const auto number = static_cast<int32_t>(user);
    for (int64_t event = log.offsets[user]; event < log.offsets[user + 1]; ++event) {
      Counts& own = counts[log.notes[event]];
      ++own.events;
      own.views += log.is_view(event);
      own.users += own.last_user != number;
      own.last_user = number;
    }
  }
  return counts;
}

}  // namespace

Exposure count_exposure(const UserEvents& log, const ProgressFn& progress, int threads) {
  const auto ranges = internal::divide_users(log, threads);
  std::vector<LargeVector<Counts>> parts(ranges.size());
  const ProgressFn still_none = [&](int64_t, int64_t) {
    report_progress(progress, 0, log.note_count);
    return true;
  };
  run_tasks(
      std::ssize(ranges), threads, [&](int64_t r) { parts[r] = count(log, ranges[r]); },
      still_none);
  const std::vector<int64_t> none(log.note_count, 0);
  Exposure exposure{none, none, none, none};
  for (const auto& part : parts) {
    for (int64_t note = 0; note < log.note_count; ++note) {
      exposure.events[note] += part[note].events;
      exposure.views[note] += part[note].views;
      exposure.users[note] += part[note].users;
    }
  }
  for (int64_t note = 0; note < log.note_count; ++note)
    exposure.clicks[note] = exposure.events[note] - (log.events.empty() ? 0 : exposure.views[note]);
  return exposure;
}

}  // namespace notellm
