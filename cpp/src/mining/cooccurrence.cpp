#include "notellm/mining/cooccurrence.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>

#include "click_windows.h"
#include "notellm/options/described.h"
#include "notellm/util/check.h"
#include "notellm/util/parallel.h"

namespace notellm {
namespace {

using internal::ClickWindow;
using internal::ClickWindows;

constexpr int64_t kMaxUnits = std::numeric_limits<int64_t>::max();
constexpr int64_t kBlocks = 4096;  // number of tasks: each is a block of N / kBlocks source notes

int64_t saturating_add(int64_t a, int64_t b) { return a > kMaxUnits - b ? kMaxUnits : a + b; }

int64_t to_units(double score) {
  const double units = std::ldexp(score, kScoreUnitBits);
  return units >= static_cast<double>(kMaxUnits) ? kMaxUnits : std::llround(units);
}

struct Partner {
  int32_t note;
  int32_t users;
  int64_t units;
};

bool is_better(const Partner& a, const Partner& b) {
  return a.units != b.units ? a.units > b.units : a.note < b.note;
}

// Where one thread sums the scores of a source note; O(N) memory, reused for one source after
// another.
class Accumulator {
 public:
  explicit Accumulator(int64_t notes) : cells_(notes) {}

  // All pairs (A, .) of the source note A; overwrites the previous result.
  const std::vector<Partner>& sum(const ClickWindows& index, int32_t source) {
    clear();
    int32_t last_user = -1;
    for (int64_t w = index.offsets[source]; w < index.offsets[source + 1]; ++w) {
      const ClickWindow& window = index.windows[w];
      visit_ += window.user != last_user;
      last_user = window.user;
      add(index, window, source);
    }
    collect();
    return partners_;
  }

 private:
  struct Cell {
    int64_t units = 0;
    int32_t users = 0;
  };

  void add(const ClickWindows& index, const ClickWindow& window, int32_t source) {
    const int64_t unit = index.units[window.user];
    for (int64_t c = window.begin; c < window.begin + window.count; ++c) {
      const int32_t note = index.clicks[c];
      if (note == source) continue;
      if (index.may_repeat && !is_new_to_visit(note)) continue;
      Cell& cell = cells_[note];
      if (cell.users == 0) touched_.push_back(note);
      cell.units = saturating_add(cell.units, unit);
      ++cell.users;
    }
  }

  // A visit is one user with one source note: within it a pair counts once.
  bool is_new_to_visit(int32_t note) {
    if (last_visit_.empty()) last_visit_.assign(cells_.size(), 0);
    const bool is_new = last_visit_[note] != visit_;
    last_visit_[note] = visit_;
    return is_new;
  }

  void clear() {
    for (const int32_t note : touched_) cells_[note] = {};
    touched_.clear();
  }

  void collect() {
    partners_.clear();
    for (const int32_t note : touched_) {
      partners_.push_back({note, cells_[note].users, cells_[note].units});
    }
  }

  std::vector<Cell> cells_;
  std::vector<int64_t> last_visit_;
  std::vector<int32_t> touched_;
  std::vector<Partner> partners_;
  int64_t visit_ = 0;
};

// Lends accumulators to tasks, so that there are never more of them than threads.
class AccumulatorPool {
 public:
  explicit AccumulatorPool(int64_t notes) : notes_(notes) {}

  std::unique_ptr<Accumulator> take() {
    {
      std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto accumulator = std::move(idle_.back());
        idle_.pop_back();
        return accumulator;
      }
    }
    return std::make_unique<Accumulator>(notes_);
  }

  void give_back(std::unique_ptr<Accumulator> accumulator) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(accumulator));
  }

 private:
  int64_t notes_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Accumulator>> idle_;
};

// Applies min_users, bounds and top to one source note after another, and counts what is dropped.
class Selector {
 public:
  explicit Selector(const MiningOptions& options)
      : options_(options), lower_(to_units(options.lower)), upper_(to_units(options.upper)) {}

  // The kept partners by ascending note; valid until the next call.
  const std::vector<Partner>& select(const std::vector<Partner>& partners, MiningReport& report) {
    kept_.clear();
    for (const Partner& partner : partners) {
      ++report
            .histogram[std::bit_width(static_cast<uint64_t>(std::max<int64_t>(partner.units, 1))) -
                       1];
      if (partner.users < options_.min_users) {
        ++report.pairs_under_min_users;
      } else if (partner.units < lower_) {
        ++report.pairs_below_lower;
      } else if (partner.units > upper_) {
        ++report.pairs_above_upper;
      } else {
        kept_.push_back(partner);
      }
    }
    keep_top(report);
    report.pairs_found += std::ssize(partners);
    report.pairs_kept += std::ssize(kept_);
    report.notes_without_partner += kept_.empty();
    return kept_;
  }

 private:
  void keep_top(MiningReport& report) {
    const int64_t beyond = std::ssize(kept_) - options_.top;
    if (options_.top > 0 && beyond > 0) {
      std::nth_element(kept_.begin(), kept_.begin() + options_.top, kept_.end(), is_better);
      kept_.resize(options_.top);
      report.pairs_beyond_top += beyond;
    }
    std::sort(kept_.begin(), kept_.end(),
              [](const Partner& a, const Partner& b) { return a.note < b.note; });
  }

  const MiningOptions& options_;
  int64_t lower_, upper_;
  std::vector<Partner> kept_;
};

// The kept pairs of a block of consecutive source notes.
struct Block {
  std::vector<int64_t> row_sizes;
  std::vector<Partner> partners;
  MiningReport report;
};

Block mine_block(const ClickWindows& index,
                 const MiningOptions& options,
                 int64_t first,
                 int64_t last,
                 Accumulator& accumulator) {
  Block block;
  Selector selector(options);
  for (int64_t source = first; source < last; ++source) {
    const auto& sums = accumulator.sum(index, static_cast<int32_t>(source));
    const auto& kept = selector.select(sums, block.report);
    block.row_sizes.push_back(std::ssize(kept));
    block.partners.insert(block.partners.end(), kept.begin(), kept.end());
  }
  return block;
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
  int64_t* const row_begin = result.scores.outerIndexPtr();
  int64_t row = 0, pair = 0;
  row_begin[0] = 0;
  for (Block& block : blocks) {
    for (const int64_t size : block.row_sizes) {
      row_begin[row + 1] = row_begin[row] + size;
      ++row;
    }
    for (const Partner& partner : block.partners) {
      result.scores.innerIndexPtr()[pair] = partner.note;
      result.scores.valuePtr()[pair] =
          std::ldexp(static_cast<double>(partner.units), -kScoreUnitBits);
      result.users.push_back(partner.users);
      ++pair;
    }
    block = {};
  }
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
  const ClickWindows index = internal::build_click_windows(log, options, progress, result.report);

  const int64_t notes = log.note_count;
  const int64_t block_size = std::max<int64_t>(1, (notes + kBlocks - 1) / kBlocks);
  std::vector<Block> blocks((notes + block_size - 1) / block_size);
  AccumulatorPool accumulators(notes);
  const auto mine = [&](int64_t b) {
    auto accumulator = accumulators.take();
    const int64_t first = b * block_size, last = std::min(notes, first + block_size);
    blocks[b] = mine_block(index, options, first, last, *accumulator);
    accumulators.give_back(std::move(accumulator));
  };
  const ProgressFn in_notes = [&](int64_t done, int64_t) {
    report_progress(progress, std::min(notes, done * block_size), notes);
    return true;
  };
  run_tasks(std::ssize(blocks), options.threads, mine, in_notes);
  assemble(blocks, notes, result);
  report_progress(progress, notes, notes);
  return result;
}

}  // namespace notellm
