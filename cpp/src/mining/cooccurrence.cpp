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
#include "views.h"

namespace notellm {
namespace {

using internal::UserClicks;
using internal::View;
using internal::ViewIndex;

constexpr int64_t kMaxUnits = std::numeric_limits<int64_t>::max();
constexpr int64_t kBlocks = 4096;  // about so many tasks

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

// A sum of a source note; 0 users: none.
struct Sum {
  int64_t units = 0;
  int32_t users = 0;
  int32_t place = 0;
};

// Applies min_users, bounds and top to the partners of one source note after another, and counts
// what is dropped.
class Selector {
 public:
  Selector(const MiningOptions& options, const std::vector<int32_t>& note_at)
      : options_(options),
        note_at_(note_at),
        least_(options.min_users),
        lower_(to_units(options.lower)),
        upper_(to_units(options.upper)),
        room_(std::max<int64_t>(64, 2 * options.top)) {}

  void begin() {
    kept_.clear();
    passing_ = 0;
    is_full_ = false;
  }

  // Counts are kept in registers, and nothing branches but for the few that may be among the best.
  void offer(std::span<const Sum> sums) {
    const int64_t least = least_, lower = lower_, upper = upper_;
    int64_t few = 0, low = 0, high = 0;
    int64_t floor = is_full_ ? worst_.units : 0;
    for (size_t i = 0; i < sums.size(); ++i) {
      const Sum sum = sums[i];
      // Several histograms in turn: neighbours of equal score would wait for each other's count.
      ++histograms_[i % kHistograms][std::bit_width(static_cast<uint64_t>(sum.units))];
      const bool is_few = sum.users < least;
      const bool is_low = !is_few & (sum.units < lower);
      const bool is_high = !is_few & (sum.units > upper);
      few += is_few, low += is_low, high += is_high;
      if (!(is_few | is_low | is_high) & (sum.units >= floor)) {
        keep(sum);
        floor = is_full_ ? worst_.units : 0;
      }
    }
    report_.pairs_found += std::ssize(sums);
    report_.pairs_under_min_users += few;
    report_.pairs_below_lower += low;
    report_.pairs_above_upper += high;
    passing_ += std::ssize(sums) - few - low - high;
  }

  // The kept partners of the source note by ascending note; valid until the next `begin`.
  const std::vector<Partner>& end() {
    if (options_.top > 0 && std::ssize(kept_) > options_.top) cut();
    report_.pairs_beyond_top += passing_ - std::ssize(kept_);
    report_.pairs_kept += std::ssize(kept_);
    report_.notes_without_partner += kept_.empty();
    std::sort(kept_.begin(), kept_.end(),
              [](const Partner& a, const Partner& b) { return a.note < b.note; });
    return kept_;
  }

  // The counts since the last call.
  MiningReport take_report() {
    for (auto& histogram : histograms_) {
      for (size_t width = 0; width < histogram.size(); ++width)
        report_.histogram[std::max<size_t>(width, 1) - 1] += std::exchange(histogram[width], 0);
    }
    return std::exchange(report_, {});
  }

 private:
  void keep(const Sum& sum) {
    const int32_t note = note_at_[sum.place];
    if (is_full_ && sum.units == worst_.units && note > worst_.note) return;
    kept_.push_back({note, sum.users, sum.units});
    if (options_.top > 0 && std::ssize(kept_) == room_) {
      cut();
      worst_ = kept_.back();
      is_full_ = true;
    }
  }

  // Leaves the best `top`, the worst of them last.
  void cut() {
    std::nth_element(kept_.begin(), kept_.begin() + options_.top - 1, kept_.end(), is_better);
    kept_.resize(options_.top);
  }

  const MiningOptions& options_;
  const std::vector<int32_t>& note_at_;
  int64_t least_, lower_, upper_, room_;
  std::vector<Partner> kept_;  // more than `top` of them until they are cut
  bool is_full_ = false;       // whether `worst_` is the worst of `top` partners
  Partner worst_{};
  int64_t passing_ = 0;  // partners of the source note within all bounds but `top`
  static constexpr size_t kHistograms = 4;
  std::array<std::array<int64_t, 65>, kHistograms> histograms_{};  // by a score's width in bits
  MiningReport report_;
};

// Sums in a table with a cell for every note. For sources with many partners.
class DirectSums {
 public:
  explicit DirectSums(int64_t notes) : notes_(notes) {}

  void begin(int64_t) {
    if (cells_.empty()) {
      cells_.resize(notes_);
      touched_.resize(notes_ + 1);  // with room for one that is not counted
    }
    count_ = 0;
  }

  // Adds a user's unit to the sums of some places.
  void add(std::span<const int32_t> places, int64_t unit) {
    int64_t count = count_;
    for (const int32_t place : places) {
      Sum& cell = cells_[place];
      touched_[count] = place;
      count += cell.users == 0;
      cell = {saturating_add(cell.units, unit), cell.users + 1, place};
    }
    count_ = count;
  }

  // Gives all sums but that of the place `own`, some at a time, and forgets them.
  template <typename Visit>
  void take(int32_t own, Visit&& visit) {
    cells_[own].users = 0;
    for (int64_t i = 0; i < count_; i += std::ssize(some_)) {
      size_t filled = 0;
      for (int64_t k = i; k < std::min(count_, i + std::ssize(some_)); ++k) {
        some_[filled] = std::exchange(cells_[touched_[k]], {});
        filled += some_[filled].users != 0;
      }
      visit(std::span<const Sum>(some_.data(), filled));
    }
  }

 private:
  int64_t notes_;
  int64_t count_ = 0;
  LargeVector<Sum> cells_;
  LargeVector<int32_t> touched_;
  std::array<Sum, 1024> some_;
};

// The same with score and users in one word: half the memory, and one addition for both.
class PackedSums {
 public:
  explicit PackedSums(int64_t notes) : cells_(notes, 0), touched_(notes + 1) {}

  // A score is at most 1 a view, and a user has one.
  static bool has_room(int64_t views) {
    return 2 * std::bit_width(static_cast<uint64_t>(views)) + kScoreUnitBits <= 64;
  }

  void begin(int64_t views) {
    user_shift_ = 64 - std::bit_width(static_cast<uint64_t>(views | 1));
    count_ = 0;
  }

  void add(std::span<const int32_t> places, int64_t unit) {
    const uint64_t both = (uint64_t{1} << user_shift_) + static_cast<uint64_t>(unit);
    uint64_t* const cells = cells_.data();
    int32_t* touched = touched_.data() + count_;
    for (const int32_t place : places) {
      const uint64_t before = cells[place];
      *touched = place;
      touched += before == 0;
      cells[place] = before + both;
    }
    count_ = touched - touched_.data();
  }

  template <typename Visit>
  void take(int32_t own, Visit&& visit) {
    cells_[own] = 0;
    uint64_t* const cells = cells_.data();
    const uint64_t units = (uint64_t{1} << user_shift_) - 1;
    for (int64_t i = 0; i < count_; i += std::ssize(some_)) {
      Sum* filled = some_.data();
      for (int64_t k = i; k < std::min(count_, i + std::ssize(some_)); ++k) {
        const int32_t place = touched_[k];
        const uint64_t cell = std::exchange(cells[place], 0);
        *filled = {static_cast<int64_t>(cell & units), static_cast<int32_t>(cell >> user_shift_),
                   place};
        filled += cell != 0;
      }
      visit(std::span<const Sum>(some_.data(), filled));
    }
  }

 private:
  int user_shift_ = 0;
  int64_t count_ = 0;
  LargeVector<uint64_t> cells_;
  LargeVector<int32_t> touched_;
  std::array<Sum, 1024> some_;
};

// Where one thread sums the scores of one source note after another; O(N) memory.
class Accumulator {
 public:
  Accumulator(const ViewIndex& index, const MiningOptions& options)
      : index_(index),
        selector_(options, index.note_at),
        packed_(std::ssize(index.note_at)),
        direct_(std::ssize(index.note_at)) {}

  // The kept partners of a source note by ascending note; valid until the next call.
  const std::vector<Partner>& mine(int32_t source) {
    const int64_t views = index_.offsets[source + 1] - index_.offsets[source];
    return PackedSums::has_room(views) ? mine(source, views, packed_)
                                       : mine(source, views, direct_);
  }

  MiningReport take_report() { return selector_.take_report(); }

 private:
  // How many views ahead of the sum a user is fetched from memory. (Fetching the user's clicks,
  // too, costs more than it gains: the processor itself runs ahead as soon as it knows where they
  // are.)
  static constexpr int64_t kUsersAhead = 32;

  template <typename Sums>
  const std::vector<Partner>& mine(int32_t source, int64_t views, Sums& sums) {
    sums.begin(views);
    if (index_.has_gap_limit)
      add_new(source, sums);
    else
      add_all(source, sums);
    selector_.begin();
    sums.take(index_.place_of[source],
              [this](std::span<const Sum> some) { selector_.offer(some); });
    return selector_.end();
  }

  // Every user has one view of the source, with distinct clicks.
  template <typename Sums>
  void add_all(int32_t source, Sums& sums) {
    for (int64_t v = index_.offsets[source]; v < index_.offsets[source + 1]; ++v) {
      fetch_ahead(v);
      const UserClicks& user = index_.users[index_.views[v].user];
      const std::span<const int32_t> clicks(&index_.clicks[user.begin], user.count);
      sums.add(clicks.last(index_.clicks_after(v)), unit_of(user));
    }
  }

  // A user may have several views of the source, and several clicks on a partner: a pair counts
  // once.
  template <typename Sums>
  void add_new(int32_t source, Sums& sums) {
    if (last_visit_.empty()) last_visit_.assign(index_.note_at.size(), 0);
    int32_t last_user = -1;
    for (int64_t v = index_.offsets[source]; v < index_.offsets[source + 1]; ++v) {
      const View& view = index_.views[v];
      const UserClicks& user = index_.users[view.user];
      visit_ += view.user != last_user;
      last_user = view.user;
      const std::span<const int32_t> clicks(&index_.clicks[user.begin], user.count);
      new_.clear();
      for (const int32_t place : clicks.subspan(view.from, index_.clicks_after(v)))
        if (std::exchange(last_visit_[place], visit_) != visit_) new_.push_back(place);
      sums.add(new_, unit_of(user));
    }
  }

  // Also beyond the source's last view: the next source's follow, and most have fewer than these.
  void fetch_ahead(int64_t view) const {
    if (view + kUsersAhead < std::ssize(index_.views))
      __builtin_prefetch(&index_.users[index_.views[view + kUsersAhead].user]);
  }

  static int64_t unit_of(const UserClicks& user) {
    return ((int64_t{1} << kScoreUnitBits) + user.distinct / 2) / user.distinct;
  }

  const ViewIndex& index_;
  Selector selector_;
  PackedSums packed_;
  DirectSums direct_;
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
  const ViewIndex index = internal::index_views(log, options, progress, result.report);

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
