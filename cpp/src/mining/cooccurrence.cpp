#include "notellm/mining/cooccurrence.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <span>
#include <utility>

#include "notellm/options/described.h"
#include "notellm/util/check.h"
#include "notellm/util/parallel.h"
#include "sample.h"
#include "selector.h"
#include "sums.h"
#include "swing.h"
#include "views.h"

namespace notellm {
namespace {

using internal::DirectSums;
using internal::is_better;
using internal::PackedSums;
using internal::Partner;
using internal::Scorer;
using internal::Selector;
using internal::Sum;
using internal::SwingSums;
using internal::ViewIndex;

constexpr int64_t kBlocks = 4096;  // about so many tasks

// Where one thread sums the scores of one source note after another; O(N) memory.
class Accumulator {
 public:
  Accumulator(const ViewIndex& index, const MiningOptions& options)
      : index_(index),
        scorer_(index, options.score),
        selector_(options, index.note_at),
        packed_(std::ssize(index.note_at)),
        direct_(std::ssize(index.note_at)),
        is_swing_(options.score == PairScore::kSwing),
        swing_(index, options.swing_alpha) {}

  // The kept partners of a source note by ascending note; valid until the next call.
  const std::vector<Partner>& mine(int32_t source) {
    if (is_swing_) {
      selector_.begin();
      selector_.offer(swing_.of(source));
      return selector_.end();
    }
    const int64_t views = index_.offsets[source + 1] - index_.offsets[source];
    return PackedSums::has_room(views) ? mine(source, views, packed_)
                                       : mine(source, views, direct_);
  }

  MiningReport take_report() { return selector_.take_report(); }

 private:
  // How many views ahead of the sum a user's clicks are fetched from memory.
  static constexpr int64_t kViewsAhead = 8;

  template <typename Sums>
  const std::vector<Partner>& mine(int32_t source, int64_t views, Sums& sums) {
    sums.begin(views);
    if (index_.has_gap_limit)
      add_new(source, sums);
    else
      add_all(source, sums);
    selector_.begin();
    sums.take(index_.place_of[source], [&](std::span<Sum> some) {
      scorer_(source, some);
      selector_.offer(some);
    });
    return selector_.end();
  }

  // Every user has one view of the source, with distinct clicks.
  template <typename Sums>
  void add_all(int32_t source, Sums& sums) {
    for (int64_t v = index_.offsets[source]; v < index_.offsets[source + 1]; ++v) {
      fetch_ahead(v);
      sums.add(index_.clicks_after(v), index_.user_of(index_.views[v]).unit());
    }
  }

  // A user may have several views of the source, and several clicks on a partner: a pair counts
  // once.
  template <typename Sums>
  void add_new(int32_t source, Sums& sums) {
    if (last_visit_.empty()) last_visit_.assign(index_.note_at.size(), 0);
    for (int64_t v = index_.offsets[source]; v < index_.offsets[source + 1]; ++v) {
      const uint32_t user = index_.views[v].user;
      visit_ += v == index_.offsets[source] || user != index_.views[v - 1].user;
      new_.clear();
      for (const int32_t place : index_.clicks_after(v))
        if (std::exchange(last_visit_[place], visit_) != visit_) new_.push_back(place);
      sums.add(new_, index_.user_of(index_.views[v]).unit());
    }
  }

  // Also beyond the source's last view: the next source's follow, and most have fewer than these.
  void fetch_ahead(int64_t view) const {
    if (view + kViewsAhead >= std::ssize(index_.views)) return;
    const int32_t* const clicks = index_.user_of(index_.views[view + kViewsAhead]).begin();
    __builtin_prefetch(clicks);
    __builtin_prefetch(clicks + 16);  // a line of the cache holds 16 numbers
  }

  const ViewIndex& index_;
  Scorer scorer_;
  Selector selector_;
  PackedSums packed_;
  DirectSums direct_;
  bool is_swing_;
  SwingSums swing_;
  LargeVector<int64_t> last_visit_;  // of each place: a visit is one user with one source note
  int64_t visit_ = 0;
  std::vector<int32_t> new_;  // a visit's new clicks
};

// Lends accumulators to tasks, so that there are never more of them than threads.
class AccumulatorPool {
 public:
  AccumulatorPool(const ViewIndex& index, const MiningOptions& options)
      : index_(index), options_(options) {}

  std::unique_ptr<Accumulator> take() {
    {
      std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto accumulator = std::move(idle_.back());
        idle_.pop_back();
        return accumulator;
      }
    }
    return std::make_unique<Accumulator>(index_, options_);
  }

  void give_back(std::unique_ptr<Accumulator> accumulator) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(accumulator));
  }

 private:
  const ViewIndex& index_;
  const MiningOptions& options_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Accumulator>> idle_;
};

// The kept pairs of a block of consecutive source notes.
struct Block {
  std::vector<int64_t> row_sizes;
  std::vector<Partner> partners;
  MiningReport report;
};

Block mine_block(int64_t first, int64_t last, Accumulator& accumulator) {
  Block block;
  for (int64_t source = first; source < last; ++source) {
    const auto& kept = accumulator.mine(static_cast<int32_t>(source));
    block.row_sizes.push_back(std::ssize(kept));
    block.partners.insert(block.partners.end(), kept.begin(), kept.end());
  }
  block.report = accumulator.take_report();
  return block;
}

// The first source note of each block, and N: blocks have about as many views, but at least a note.
std::vector<int64_t> divide(const std::vector<int64_t>& offsets) {
  const int64_t notes = std::ssize(offsets) - 1;
  const int64_t share = offsets.back() / kBlocks + 1, most_notes = notes / kBlocks + 1;
  std::vector<int64_t> firsts{0};
  for (int64_t note = 1; note < notes; ++note) {
    const int64_t first = firsts.back();
    if (offsets[note] - offsets[first] >= share || note - first >= 4 * most_notes)
      firsts.push_back(note);
  }
  if (notes > 0) firsts.push_back(notes);
  return firsts;
}

void add_pair_counts(const MiningReport& from, MiningReport& to) {
  to.pairs_found += from.pairs_found;
  to.pairs_under_min_users += from.pairs_under_min_users;
  to.pairs_below_lower += from.pairs_below_lower;
  to.pairs_above_upper += from.pairs_above_upper;
  to.pairs_beyond_top += from.pairs_beyond_top;
  to.pairs_kept += from.pairs_kept;
  to.notes_without_partner += from.notes_without_partner;
  for (size_t bin = 0; bin < to.histogram.size(); ++bin) to.histogram[bin] += from.histogram[bin];
}

// Blocks and rows of the matrix are in the same order; each block is freed once it is copied.
void assemble(std::vector<Block>& blocks, int64_t notes, Cooccurrence& result) {
  for (const Block& block : blocks) add_pair_counts(block.report, result.report);
  const int64_t pairs = result.report.pairs_kept;
  result.scores.resize(notes, notes);
  result.scores.resizeNonZeros(pairs);
  result.users.reserve(pairs);
  result.best_first.resize(pairs);
  int64_t* const row_begin = result.scores.outerIndexPtr();
  int64_t row = 0, pair = 0;
  row_begin[0] = 0;
  for (Block& block : blocks) {
    const Partner* partner = block.partners.data();
    for (const int64_t size : block.row_sizes) {
      row_begin[row + 1] = row_begin[row] + size;
      ++row;
      const auto order = std::span(result.best_first).subspan(pair, size);
      std::iota(order.begin(), order.end(), pair);
      std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return is_better(partner[a - pair], partner[b - pair]);
      });
      for (int64_t i = 0; i < size; ++i) {
        result.scores.innerIndexPtr()[pair + i] = partner[i].note;
        result.scores.valuePtr()[pair + i] =
            std::ldexp(static_cast<double>(partner[i].units), -kScoreUnitBits);
        result.users.push_back(partner[i].users);
      }
      pair += size;
      partner += size;
    }
    block = {};
  }
}

// What the samples left out, beside what the report says of the log that is left.
void add_left_out(const MiningReport& left_out, const Exposure& exposure, MiningReport& report) {
  // Users of whom nothing is left give no pair either.
  report.users_with_one_note += left_out.users - left_out.users_too_long - report.users;
  report.users = left_out.users;
  report.users_too_long = left_out.users_too_long;
  report.users_sampled = left_out.users_sampled;
  report.events = left_out.events;
  report.events_of_long_users = left_out.events_of_long_users;
  report.events_of_sampled_users = left_out.events_of_sampled_users;
  report.events_of_sampled_notes = left_out.events_of_sampled_notes;
  report.notes_sampled = left_out.notes_sampled;
  report.notes_without_events = std::ranges::count(exposure.events, 0);
}

// The log that is left by the samples, regrouped by viewed note.
ViewIndex index_log(const UserEvents& log,
                    const MiningOptions& options,
                    const ProgressFn& progress,
                    const Exposure& exposure,
                    MiningReport& report) {
  if (!internal::takes_samples(options))
    return internal::index_views(log, exposure.events, options, progress, report);
  MiningReport left_out;
  const UserEvents some = internal::sample(log, options, progress, left_out);
  std::vector<int64_t> events(log.note_count, 0);
  for (const int32_t note : some.notes) ++events[note];
  ViewIndex index = internal::index_views(some, events, options, progress, report);
  add_left_out(left_out, exposure, report);
  return index;
}

void check_options(const UserEvents& log, const MiningOptions& options) {
  validate(options, "mine_pairs");
  const internal::Require require("mine_pairs");
  require(options.threads >= 0, "threads must be at least 0, but is ", options.threads);
  require(log.is_ordered || (options.max_gap_seconds == 0 && options.max_gap_events == 0),
          "a gap limit needs an ordered log, but this one is a set of baskets");
  require(options.max_gap_seconds == 0 || !log.times.empty() || log.notes.empty(),
          "a gap limit in time needs event times, but the log has none; try max_gap_events");
}

}  // namespace

Cooccurrence mine_cooccurrence(const UserEvents& log,
                               const MiningOptions& options,
                               const ProgressFn& progress) {
  check_options(log, options);
  Cooccurrence result;
  result.exposure = count_exposure(log, progress, options.threads);
  const ViewIndex index = index_log(log, options, progress, result.exposure, result.report);
  const int64_t notes = log.note_count;
  const std::vector<int64_t> firsts = divide(index.offsets);
  std::vector<Block> blocks(firsts.size() - 1);
  AccumulatorPool accumulators(index, options);
  const auto mine = [&](int64_t b) {
    auto accumulator = accumulators.take();
    blocks[b] = mine_block(firsts[b], firsts[b + 1], *accumulator);
    accumulators.give_back(std::move(accumulator));
  };
  const ProgressFn in_notes = [&](int64_t done, int64_t) {
    report_progress(progress, firsts[done], notes);
    return true;
  };
  run_tasks(std::ssize(blocks), options.threads, mine, in_notes);
  assemble(blocks, notes, result);
  report_progress(progress, notes, notes);
  return result;
}

}  // namespace notellm
