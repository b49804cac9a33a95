#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "notellm/options/option.h"
#include "notellm/util/check.h"

namespace notellm {

/// How related a pair (A, B) is, given the users who viewed A and afterwards clicked B, its
/// supporters.
enum class PairScore {
  kNoteLLM,  ///< equation (1): the sum of 1 / N_i over them
  kCount,    ///< how many there are
  kCosine,   ///< that number by the root of (viewers of A x clickers of B)
  kPmi,      ///< log(that number x users / (viewers of A x clickers of B)), at least 0
  kSwing,    ///< the sum over pairs of them of w_u w_v / (swing_alpha + clicked notes in common)
};

constexpr auto names_of(PairScore) {
  return std::array{std::pair{"notellm", PairScore::kNoteLLM},
                    std::pair{"count", PairScore::kCount}, std::pair{"cosine", PairScore::kCosine},
                    std::pair{"pmi", PairScore::kPmi}, std::pair{"swing", PairScore::kSwing}};
}

/// The choices that equation (1) leaves open, and the bounds on scores.
struct MiningOptions {
  PairScore score = PairScore::kNoteLLM;
  double lower = 0.01;
  double upper = 30.0;
  int64_t top = 10;
  int64_t min_users = 1;
  double swing_alpha = 1.0;
  int64_t max_user_events = 0;
  int64_t sample_user_notes = 0;
  int64_t sample_note_users = 0;
  int64_t sample_seed = 0;
  int64_t max_gap_seconds = 0;
  int64_t max_gap_events = 0;

  int threads = 0;  ///< Set for each call: 0 = `num_threads()`; the result does not depend on it.

  static constexpr const char* kMeaning = "Related pairs from co-occurrence, equation (1).";

  template <typename Visit>
  static void describe(Visit&& option) {
    option(
        "score", &MiningOptions::score,
        "What a pair scores: the paper's sum of 1 / N over its users; their count; the cosine of "
        "the two notes' users; their pointwise mutual information (natural logarithm, at "
        "least 0); or Swing, a sum over pairs of users, the larger the fewer notes they share. The "
        "bounds below are of this score.",
        anything().added_later());
    option("lower", &MiningOptions::lower, "Pairs that score less are dropped.", at_least(0));
    option(
        "upper", &MiningOptions::upper,
        "Pairs that score more are dropped: their notes are too popular to say much. The default "
        "is for the paper's score; a count or Swing has another scale, and hardly wants a bound.",
        above(0).or_infinite());
    option("top", &MiningOptions::top,
           "Partners kept of each note, the best first, ties by the order of the notes; 0 = all.",
           at_least(0).in("notes"));
    option("min_users", &MiningOptions::min_users, "Users who must support a pair.",
           at_least(1).in("users"));
    option("swing_alpha", &MiningOptions::swing_alpha,
           "score=swing: what is added to the notes that two users share; the larger, the less it "
           "counts how few they are.",
           at_least(0).added_later());
    option("max_user_events", &MiningOptions::max_user_events,
           "Users with more events are left out whole; 0 = no limit.", at_least(0).in("events"));
    option("sample_user_notes", &MiningOptions::sample_user_notes,
           "Of users with more notes so many are kept, drawn at random, as if the log had no other "
           "events of theirs; 0 = no limit.",
           at_least(0).in("notes").added_later());
    option("sample_note_users", &MiningOptions::sample_note_users,
           "Of notes with more users so many are kept, drawn at random, as if the log had no other "
           "events of these notes; 0 = no limit, but score=swing needs one.",
           at_least(0).in("users").added_later());
    option("sample_seed", &MiningOptions::sample_seed, "Of these two samples.",
           at_least(0).added_later());
    option("max_gap_seconds", &MiningOptions::max_gap_seconds,
           "Longest time from view to click, in seconds or what unit the log has; 0 = no limit.",
           at_least(0).in("seconds"));
    option("max_gap_events", &MiningOptions::max_gap_events,
           "Most events of the user from view to click; 0 = no limit.", at_least(0).in("events"));
  }

  std::string mismatch() const {
    if (lower > upper)
      return internal::joined("lower must not be above upper, but are ", lower, " and ", upper);
    if (score == PairScore::kSwing && sample_note_users == 0)
      return "sample_note_users must be above 0 for score=swing, whose cost grows with the square "
             "of a note's users, but is 0; try sample_note_users=1000";
    return "";
  }
};

}  // namespace notellm
