#include "notellm/prompts/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "notellm/prompts/permutation.h"
#include "notellm/util/check.h"
#include "notellm/util/random.h"

namespace notellm {
namespace {

// Streams of random_word, so that the draws of one row do not depend on each other.
constexpr uint64_t kPairStream = 0x70616972;      // "pair"
constexpr uint64_t kTaskStream = 0x7461736B;      // "task"
constexpr uint64_t kCountStream = 0x636F756E;     // "coun"
constexpr uint64_t kHashtagStream = 0x68617368;   // "hash"
constexpr uint64_t kNegativeStream = 0x6E656761;  // "nega"

constexpr const char *kMaking = "PairSampler", *kPlan = "PairSampler.plan";

void check(const SamplingOptions& options, int64_t pairs) {
  const internal::Require require(kMaking);
  require(options.pairs_per_step >= 1, "pairs_per_step must be at least 1, but is ",
          options.pairs_per_step);
  require(options.hashtag_ratio >= 0 && options.hashtag_ratio <= 1,
          "hashtag_ratio must be in [0, 1], but is ", options.hashtag_ratio);
  require(options.max_count >= 1, "max_count must be at least 1, but is ", options.max_count);
  require(options.negatives_per_pair >= 0, "negatives_per_pair must be at least 0, but is ",
          options.negatives_per_pair);
  require(pairs >= options.pairs_per_step, "there must be at least ", options.pairs_per_step,
          " pairs for one step, but there are ", pairs, "; try fewer pairs a step");
}

void check_indices(const char* where,
                   const char* what,
                   const std::vector<int64_t>& notes,
                   int64_t size) {
  const internal::Require<std::out_of_range> require(where);
  for (const int64_t note : notes) {
    require(note >= 0 && note < size, what, " must be in [0, ", size, "), but is ", note);
  }
}

void check_step(int64_t step) {
  internal::require(step >= 0, kPlan, "step must be at least 0, but is ", step);
}

void check_negatives(const PairNegatives& negatives, int64_t pairs) {
  const internal::Require require(kMaking);
  const auto& offsets = negatives.offsets;
  const bool are_right = std::ssize(offsets) == pairs + 1 && offsets.front() == 0 &&
                         offsets.back() == std::ssize(negatives.notes) &&
                         std::is_sorted(offsets.begin(), offsets.end());
  require(are_right || (offsets.empty() && negatives.notes.empty()),
          "offsets of negatives must be ", pairs + 1, " numbers that ascend from 0 to ",
          negatives.notes.size(), ", but are not");
}

// `count` distinct numbers below `owned`, in random order: the first steps of a Fisher-Yates
// shuffle, whose i-th swap is with a number in [i, owned).
std::vector<int32_t> draw_distinct(
    int64_t count, int64_t owned, uint64_t seed, uint64_t stream, uint64_t epoch, uint64_t row) {
  std::vector<int32_t> numbers(owned);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t word = random_word(seed, stream, epoch, row, i);
    std::swap(numbers[i], numbers[i + random_below(word, owned - i)]);
  }
  numbers.resize(count);
  return numbers;
}

}  // namespace

PairSampler::PairSampler(std::vector<int64_t> sources,
                         std::vector<int64_t> targets,
                         std::vector<int64_t> hashtag_counts,
                         const SamplingOptions& options,
                         PairNegatives negatives)
    : sources_(std::move(sources)),
      targets_(std::move(targets)),
      hashtag_counts_(std::move(hashtag_counts)),
      negatives_(std::move(negatives)),
      options_(options) {
  const auto pairs = static_cast<int64_t>(sources_.size());
  const internal::Require require(kMaking);
  require(sources_.size() == targets_.size(), "sources and targets must be equally many, but are ",
          sources_.size(), " and ", targets_.size());
  require(std::all_of(hashtag_counts_.begin(), hashtag_counts_.end(),
                      [](auto n) { return n >= 0 && n <= std::numeric_limits<int32_t>::max(); }),
          "hashtag_counts must be in [0, 2^31), but one is not");
  check(options_, pairs);
  const auto notes = static_cast<int64_t>(hashtag_counts_.size());
  check_indices(kMaking, "a pair's note", sources_, notes);
  check_indices(kMaking, "a pair's note", targets_, notes);
  check_negatives(negatives_, pairs);
  check_indices(kMaking, "a pair's negative", negatives_.notes, notes);
  steps_per_epoch_ = pairs / options_.pairs_per_step;
}

int64_t PairSampler::wanted_hashtag_rows() const {
  return std::llround(options_.hashtag_ratio * 2.0 * static_cast<double>(options_.pairs_per_step));
}

std::vector<int64_t> PairSampler::draw_pairs(int64_t step) const {
  const uint64_t epoch = step / steps_per_epoch_;
  const int64_t first = step % steps_per_epoch_ * options_.pairs_per_step;
  std::vector<int64_t> pairs(options_.pairs_per_step);
  for (int64_t b = 0; b < options_.pairs_per_step; ++b) {
    pairs[b] = static_cast<int64_t>(
        permuted(first + b, sources_.size(), options_.seed, kPairStream, epoch));
  }
  return pairs;
}

// Every row with hashtags draws a key; the rows with the smallest keys take the hashtag task.
std::vector<int64_t> PairSampler::draw_hashtag_rows(const std::vector<int64_t>& notes,
                                                    uint64_t epoch,
                                                    int64_t first_row) const {
  std::vector<std::pair<uint64_t, int64_t>> keyed_rows;
  for (int64_t row = 0; row < std::ssize(notes); ++row) {
    if (hashtag_counts_[notes[row]] == 0) continue;
    keyed_rows.emplace_back(random_word(options_.seed, kTaskStream, epoch, first_row + row), row);
  }
  std::sort(keyed_rows.begin(), keyed_rows.end());
  keyed_rows.resize(std::min<int64_t>(wanted_hashtag_rows(), std::ssize(keyed_rows)));
  std::vector<int64_t> rows;
  for (const auto& [key, row] : keyed_rows) rows.push_back(row);
  return rows;
}

NotePrompt PairSampler::hashtag_prompt(int64_t note, uint64_t epoch, uint64_t row) const {
  const int64_t owned = hashtag_counts_[note];
  int64_t count = 1;
  if (options_.count_policy == CountPolicy::kAll) count = options_.max_count;
  if (options_.count_policy == CountPolicy::kUniform) {
    const uint64_t word = random_word(options_.seed, kCountStream, epoch, row);
    count = 1 + static_cast<int64_t>(random_below(word, options_.max_count));
  }
  const int asked = static_cast<int>(std::min(count, owned));
  return {note, Task::kHashtags, asked,
          draw_distinct(asked, owned, options_.seed, kHashtagStream, epoch, row)};
}

std::vector<int64_t> PairSampler::draw_negatives(int64_t pair,
                                                 uint64_t epoch,
                                                 uint64_t place) const {
  if (negatives_.offsets.empty()) return {};
  const int64_t first = negatives_.offsets[pair], owned = negatives_.offsets[pair + 1] - first;
  const int64_t count = std::min(options_.negatives_per_pair, owned);
  std::vector<int64_t> notes;
  for (const int32_t i :
       draw_distinct(count, owned, options_.seed, kNegativeStream, epoch, place)) {
    notes.push_back(negatives_.notes[first + i]);
  }
  return notes;
}

PlannedBatch PairSampler::plan(int64_t step) const {
  check_step(step);
  return plan(step, draw_pairs(step));
}

PlannedBatch PairSampler::plan(int64_t step, const std::vector<int64_t>& pairs) const {
  check_step(step);
  internal::require(std::ssize(pairs) == options_.pairs_per_step, kPlan, "a step must have ",
                    options_.pairs_per_step, " pairs, but has ", pairs.size());
  const uint64_t epoch = step / steps_per_epoch_;
  const int64_t first_row = 2 * (step % steps_per_epoch_) * options_.pairs_per_step;

  PlannedBatch batch;
  check_indices(kPlan, "a pair", pairs, std::ssize(sources_));
  for (const int64_t pair : pairs) {
    batch.note_ids.push_back(sources_[pair]);
    batch.note_ids.push_back(targets_[pair]);
  }
  for (const int64_t note : batch.note_ids) batch.prompts.push_back({note, Task::kCategory, 0, {}});
  const std::vector<int64_t> rows = draw_hashtag_rows(batch.note_ids, epoch, first_row);
  for (const int64_t row : rows) {
    batch.prompts[row] = hashtag_prompt(batch.note_ids[row], epoch, first_row + row);
  }
  batch.hashtag_shortfall = wanted_hashtag_rows() - std::ssize(rows);
  for (int64_t b = 0; b < std::ssize(pairs); ++b) {
    for (const int64_t note : draw_negatives(pairs[b], epoch, first_row / 2 + b)) {
      batch.note_ids.push_back(note);
      batch.prompts.push_back({note, Task::kCategory, 0, {}, false});
    }
    batch.negative_offsets.push_back(std::ssize(batch.note_ids) - 2 * std::ssize(pairs));
  }
  return batch;
}

}  // namespace notellm
