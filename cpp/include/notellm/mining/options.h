#pragma once

#include <cstdint>
#include <string>

#include "notellm/options/option.h"

namespace notellm {

/// The choices that equation (1) leaves open, and the bounds on scores.
struct MiningOptions {
  double lower = 0.01;
  double upper = 30.0;
  int64_t top = 10;
  int64_t min_users = 1;
  int64_t max_user_events = 0;
  int64_t max_gap_seconds = 0;
  int64_t max_gap_events = 0;

  int threads = 0;  ///< Set for each call: 0 = `num_threads()`; the result does not depend on it.

  static constexpr const char* kMeaning = "Related pairs from co-occurrence, equation (1).";

  template <typename Visit>
  static void describe(Visit&& option) {
    option("lower", &MiningOptions::lower, "Pairs that score less are dropped.", at_least(0));
    option("upper", &MiningOptions::upper,
           "Pairs that score more are dropped: their notes are too popular to say much.",
           above(0).or_infinite());
    option("top", &MiningOptions::top,
           "Partners kept of each note, the best first, ties by the order of the notes; 0 = all.",
           at_least(0).in("notes"));
    option("min_users", &MiningOptions::min_users, "Users who must support a pair.",
           at_least(1).in("users"));
    option("max_user_events", &MiningOptions::max_user_events,
           "Users with more events are left out whole; 0 = no limit.", at_least(0).in("events"));
    option("max_gap_seconds", &MiningOptions::max_gap_seconds,
           "Longest time from view to click, in seconds or what unit the log has; 0 = no limit.",
           at_least(0).in("seconds"));
    option("max_gap_events", &MiningOptions::max_gap_events,
           "Most events of the user from view to click; 0 = no limit.", at_least(0).in("events"));
  }

  std::string mismatch() const { return lower > upper ? "lower must not be above upper" : ""; }
};

}  // namespace notellm
