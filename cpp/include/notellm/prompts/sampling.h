#pragma once

#include <cstdint>
#include <vector>

#include "notellm/prompts/packing.h"

namespace notellm {

/// How many hashtags j a hashtag prompt asks for in training; never more than the note has.
enum class CountPolicy {
  kOne,      ///< 1
  kUniform,  ///< drawn evenly from 1 ... max_count
  kAll,      ///< max_count
};

struct SamplingOptions {
  int64_t pairs_per_step = 64;  ///< B >= 1, over all processes
  double hashtag_ratio = 0.4;   ///< r in [0, 1]: share of the 2B notes that take the hashtag task
  uint64_t seed = 0;
  CountPolicy count_policy = CountPolicy::kOne;
  int max_count = 5;               ///< >= 1
  int64_t negatives_per_pair = 0;  ///< hard negatives that a pair brings; fewer if it has fewer
};

/// Hard negatives: notes that are like a pair's first note, but not related to it.
struct PairNegatives {
  std::vector<int64_t> offsets;  ///< (P+1) pair p owns notes [offsets[p], offsets[p + 1]);
                                 ///< empty: no pair has any
  std::vector<int64_t> notes;    ///< indices of notes, distinct for each pair
};

/// The notes and tasks of one step, for all processes together: 2B rows in pairs, then H negatives.
struct PlannedBatch {
  std::vector<int64_t> note_ids;    ///< (2B+H) indices of notes; rows 2b and 2b + 1 are pair b
  std::vector<NotePrompt> prompts;  ///< (2B+H) the same rows with their tasks; negatives have the
                                    ///< category task and do not write
  std::vector<int64_t> negative_offsets{0};  ///< (B+1) pair b brings rows
                                             ///< 2B + [offsets[b], offsets[b + 1])
  int64_t hashtag_shortfall = 0;             ///< how many hashtag tasks are missing to round(r 2B)

  int64_t pairs() const { return static_cast<int64_t>(negative_offsets.size()) - 1; }
};

/// Draws the batches of a training run: which pairs, which task for each note, which hashtags,
/// which hard negatives.
///
/// Every draw is a function of (seed, epoch, row): a plan depends only on the sampler and the step,
/// so a run can resume at any step, and neither the number of workers nor the order of calls
/// matters. An epoch goes through all pairs in a new order and drops the last P mod B of them. In
/// each batch round(r 2B) of the notes that have hashtags get the hashtag task, the others the
/// category task; if fewer notes have hashtags, all of these get it, and the difference is the
/// shortfall. A pair's negatives are drawn anew in each epoch, without replacement.
class PairSampler {
 public:
  /// @param sources, targets  (P) the two notes of each pair
  /// @param hashtag_counts    (notes) hashtags of each note, >= 0
  /// @param negatives         of each pair
  /// @throws std::invalid_argument  if there are fewer pairs than one step takes, the lengths
  ///                                differ, offsets of negatives do not ascend from 0 to their
  ///                                number, or an option is out of its range
  /// @throws std::out_of_range      if a pair or a negative is a note without a hashtag count
  PairSampler(std::vector<int64_t> sources,
              std::vector<int64_t> targets,
              std::vector<int64_t> hashtag_counts,
              const SamplingOptions& options,
              PairNegatives negatives = {});

  /// floor(P / B).
  int64_t steps_per_epoch() const { return steps_per_epoch_; }

  const SamplingOptions& options() const { return options_; }

  /// The batch of one step; steps count from 0 and run through the epochs.
  /// Cost: O(B). @throws std::invalid_argument if the step is negative.
  PlannedBatch plan(int64_t step) const;

  /// The batch of one step with the given pairs, as B indices in [0, P); tasks and hashtags are
  /// drawn as usual. @throws std::invalid_argument unless there are B; std::out_of_range for an
  /// index outside [0, P).
  PlannedBatch plan(int64_t step, const std::vector<int64_t>& pairs) const;

 private:
  std::vector<int64_t> draw_pairs(int64_t step) const;
  std::vector<int64_t> draw_hashtag_rows(const std::vector<int64_t>& notes,
                                         uint64_t epoch,
                                         int64_t first_row) const;
  NotePrompt hashtag_prompt(int64_t note, uint64_t epoch, uint64_t row) const;
  std::vector<int64_t> draw_negatives(int64_t pair, uint64_t epoch, uint64_t place) const;
  int64_t wanted_hashtag_rows() const;

  std::vector<int64_t> sources_;
  std::vector<int64_t> targets_;
  std::vector<int64_t> hashtag_counts_;
  PairNegatives negatives_;
  SamplingOptions options_;
  int64_t steps_per_epoch_;
};

}  // namespace notellm
