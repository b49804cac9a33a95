#pragma once

#include "notellm/mining/cooccurrence.h"

namespace notellm::internal {

/// Whether the options keep only a sample of the notes of a user, or of the users of a note.
inline bool takes_samples(const MiningOptions& options) {
  return options.sample_user_notes > 0 || options.sample_note_users > 0;
}

/// The log without what the limits leave out: first users with more than max_user_events events,
/// then notes of users beyond sample_user_notes, then users of notes beyond sample_note_users.
///
/// A user's notes, and a note's users, are drawn by a hash of (sample_seed, user, note): neither
/// the order of the log nor the number of threads changes who is kept.
///
/// @param report  its counts of users, events and samples are set.
/// Cost: O(E) time, O(E + N) memory beside the new log.
UserEvents sample(const UserEvents& log,
                  const MiningOptions& options,
                  const ProgressFn& progress,
                  MiningReport& report);

}  // namespace notellm::internal
