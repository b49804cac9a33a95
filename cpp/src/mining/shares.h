#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "notellm/mining/interactions.h"
#include "notellm/util/parallel.h"

namespace notellm::internal {

/// Users [first, last).
struct UserRange {
  int64_t first, last;
};

/// All users in consecutive ranges, at most one for each thread (0 = `num_threads()`), each with
/// about as many events as others.
inline std::vector<UserRange> divide_users(const UserEvents& log, int threads) {
  const int64_t users = log.user_count(), events = std::ssize(log.notes);
  const int64_t count = threads > 0 ? threads : num_threads();
  std::vector<UserRange> ranges;
  int64_t first = 0;
  for (int64_t r = 1; r <= count && first < users; ++r) {
    const auto at = std::lower_bound(log.offsets.begin(), log.offsets.end(),
                                     events / count * r + events % count * r / count);
    const int64_t last = r == count ? users : std::min(users, at - log.offsets.begin());
    if (last > first) ranges.push_back({first, last});
    first = std::max(first, last);
  }
  return ranges;
}

}  // namespace notellm::internal
