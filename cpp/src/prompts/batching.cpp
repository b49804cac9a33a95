#include "notellm/prompts/batching.h"

#include <algorithm>
#include <ranges>

#include "notellm/util/check.h"

namespace notellm {
namespace {

// Cuts distinct sequences, in prefix order, into batches, one at a time.
class Cutter {
 public:
  Cutter(std::span<const TokenSpan> sequences, const BatchOptions& options)
      : sequences_(sequences), options_(options) {}

  // One past the last sequence of the batch that begins with `begin`.
  int64_t end_of_batch(int64_t begin) const {
    const int64_t bound = upper_bound(begin);
    if (fits(begin, bound)) return bound;  // often: few prefixes are too short to be shared
    const auto ends = std::views::iota(begin + 2, bound);
    return begin + 1 +
           (std::ranges::partition_point(ends, [&](int64_t end) { return fits(begin, end); }) -
            ends.begin());
  }

 private:
  // No batch can be longer: beyond this even a forest of min_shared 1 would be too large.
  int64_t upper_bound(int64_t begin) const {
    int64_t tokens = grown(begin);
    int64_t end = begin + 1;
    for (; end < std::ssize(sequences_); ++end) {
      tokens += grown(end) -
                shared_prefix(sequences_[end - 1], sequences_[end], options_.forest.own_tail);
      if (tokens > options_.budget) break;
    }
    return end;
  }

  bool fits(int64_t begin, int64_t end) const {
    if (end == begin + 1) return true;  // alone, whatever its length
    const PrefixForest forest =
        prefix_forest(sequences_.subspan(begin, end - begin), options_.forest);
    return std::ssize(forest.tokens) + (end - begin) * options_.room <= options_.budget;
  }

  int64_t grown(int64_t i) const { return std::ssize(sequences_[i]) + options_.room; }

  std::span<const TokenSpan> sequences_;
  const BatchOptions& options_;
};

}  // namespace

PrefixBatches prefix_batches(const TokenLists& sequences, const BatchOptions& options) {
  const internal::Require require("prefix_batches");
  require(options.budget >= 1, "the token budget must be at least 1, but is ", options.budget);
  require(options.room >= 0, "the room behind a sequence must be at least 0, but is ",
          options.room);
  validate(options.forest, "prefix_batches");
  PrefixBatches made;
  const std::vector<TokenSpan> all = sequences.spans();
  made.rows = prefix_order(all, options.forest.own_tail);
  std::vector<TokenSpan> distinct;
  for (int64_t i = 0; i < std::ssize(made.rows); ++i) {
    const TokenSpan sequence = all[made.rows[i]];
    if (i > 0 && std::ranges::equal(sequence, distinct.back())) {
      made.groups.back() = i + 1;
    } else {
      distinct.push_back(sequence);
      made.groups.push_back(i + 1);
    }
  }
  const Cutter cutter(distinct, options);
  while (made.batches.back() < std::ssize(distinct)) {
    made.batches.push_back(cutter.end_of_batch(made.batches.back()));
  }
  return made;
}

std::vector<TokenSpan> sequences_of(const TokenLists& sequences,
                                    const PrefixBatches& batches,
                                    int64_t batch) {
  std::vector<TokenSpan> chosen;
  for (int64_t g = batches.batches[batch]; g < batches.batches[batch + 1]; ++g) {
    chosen.push_back(sequences[batches.rows[batches.groups[g]]]);
  }
  return chosen;
}

}  // namespace notellm
