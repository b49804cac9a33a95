#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "notellm/options/option.h"

namespace notellm {

/// How related a pair (A, B) is, given the users who viewed A and afterwards clicked B, its
/// supporters.
enum class PairScore {
  kNoteLLM,  ///< equation (1): the sum of 1 / N_i over them
  kCount,    ///< how many there are
  kCosine,   ///< that number by the root of (viewers of A x clickers of B)
  kPmi,      ///< log(that number x users / (viewers of A x clickers of B)), at least 0
};

constexpr auto names_of(PairScore) {
  return std::array{std::pair{"notellm", PairScore::kNoteLLM},
                    std::pair{"count", PairScore::kCount}, std::pair{"cosine", PairScore::kCosine},
                    std::pair{"pmi", PairScore::kPmi}};
}

/// The choices that equation (1) leaves open, and the bounds on scores.
struct MiningOptions {
  PairScore score = PairScore::kNoteLLM;
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
    option(
        "score", &MiningOptions::score,
        "What a pair scores: the paper's sum of 1 / N over its users; their count; the cosine of "
        "the two notes' users; or their pointwise mutual information (natural logarithm, at "
        "least 0). The bounds below are of this score.",
        anything());
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
