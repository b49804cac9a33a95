#pragma once

#include <Eigen/SparseCore>
#include <cstdint>
#include <vector>

#include "notellm/mining/exposure.h"
#include "notellm/mining/interactions.h"
#include "notellm/mining/options.h"
#include "notellm/util/progress.h"

namespace notellm {

/// Co-occurrence scores are kept as whole numbers of units of 2^-40: sums are exact, hence the same
/// for any order, thread count and engine. Sums saturate at the largest int64 (about 8.4 million).
inline constexpr int kScoreUnitBits = 40;

/// What happened to the log. Each pair found is counted in exactly one of the five counters that
/// follow `pairs_found`.
struct MiningReport {
  int64_t users = 0;                    ///< users with at least one event
  int64_t users_too_long = 0;           ///< of these, left out by max_user_events
  int64_t users_with_one_note = 0;      ///< of these, left with at most one note, so without pairs
  int64_t users_sampled = 0;            ///< of these, with more notes than sample_user_notes
  int64_t events = 0;                   ///< events in the log
  int64_t events_of_long_users = 0;     ///< of these, left out with their users
  int64_t events_of_sampled_users = 0;  ///< left out by sample_user_notes
  int64_t events_of_sampled_notes = 0;  ///< left out by sample_note_users, after that
  int64_t pairs_found = 0;              ///< distinct (A, B) before min_users, bounds and top
  int64_t pairs_under_min_users = 0;
  int64_t pairs_below_lower = 0;
  int64_t pairs_above_upper = 0;
  int64_t pairs_beyond_top = 0;
  int64_t pairs_kept = 0;
  int64_t notes_without_events = 0;
  int64_t notes_sampled = 0;          ///< with more users than sample_note_users
  int64_t notes_without_partner = 0;  ///< they are the source of no kept pair, for whatever reason

  /// Scores of the pairs found: bin i counts those in [2^(i - 40), 2^(i - 39)), i in [0, 63); the
  /// first one has scores of 0, too.
  std::vector<int64_t> histogram = std::vector<int64_t>(63, 0);
};

/// The related pairs of N notes.
struct Cooccurrence {
  /// (N, N) row A holds s(A -> B) at column B, columns ascending.
  Eigen::SparseMatrix<double, Eigen::RowMajor, int64_t> scores;
  std::vector<int64_t> users;  ///< (P) supporters of each stored score, in storage order
  std::vector<int64_t>
      best_first;     ///< (P) positions of scores: row by row, the best of a row first
  Exposure exposure;  ///< of the whole log
  MiningReport report;
};

/// Related pairs by co-occurrence, equation (1):
///
///   s(A -> B) = sum over users i who viewed A and afterwards clicked B of 1 / N_i
///
/// N_i is the number of distinct notes user i clicked. A user counts once for a pair; "afterwards"
/// means strictly later in the user's events, and always holds in an unordered log; A is never its
/// own partner. 1 / N_i and the bounds are rounded to the nearest unit (see kScoreUnitBits); bounds
/// are inclusive. Each note keeps its `top` highest scores; ties are broken by note index.
///
/// `options.score` may put another number in place of s(A -> B), computed in fp64 from the number
/// of supporters, of viewers of A, of clickers of B and of all users (without those left out), and
/// rounded to a unit. Swing (Yang et al., arXiv 2010.05525) is a sum over pairs of supporters, each
/// pair once, with I_u the notes that u clicked and w_u = 1 / sqrt(|I_u|):
///
///   s(A -> B) = sum over supporters u < v of w_u w_v / (swing_alpha + |I_u and I_v|)
///
/// Each of its terms is rounded to a unit, so the sums are exact, too.
///
/// `sample_user_notes` and `sample_note_users` leave out events before all else, as if the log did
/// not have them: N_i, gaps in events and all counts of users are those of the log that is left.
/// Which are left is a function of (sample_seed, user, note).
///
/// @param progress  called with (source notes done, N).
/// @throws std::invalid_argument  if an option is out of range, or a gap limit is set for a log
///                                without order (or, for max_gap_seconds, without times).
///
/// Cost: time proportional to the sum over users of (distinct views x later clicks), for Swing to
/// the sum over pairs found of (supporters)^2; memory O(E + P), and O(N) for each thread; the pairs
/// found, of which P are kept, are never there at once. Deterministic for any number of threads.
Cooccurrence mine_cooccurrence(const UserEvents& log,
                               const MiningOptions& options = {},
                               const ProgressFn& progress = {});

}  // namespace notellm
