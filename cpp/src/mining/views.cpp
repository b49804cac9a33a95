#include "views.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>

#include "first_time.h"
#include "notellm/util/check.h"
#include "notellm/util/parallel.h"
#include "shares.h"

namespace notellm::internal {
namespace {

constexpr int64_t kMostClicks = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostRows = std::numeric_limits<uint32_t>::max();

// What one user's events mean for pairs; read for one user after another.
class UserReader {
 public:
  UserReader(const UserEvents& log, const MiningOptions& options)
      : log_(log),
        options_(options),
        has_gap_limit_(options.max_gap_seconds > 0 || options.max_gap_events > 0),
        is_first_(log.note_count) {}

  // Finds the user's clicks; false if there are none.
  bool read(int64_t user) {
    begin_ = log_.offsets[user], end_ = log_.offsets[user + 1];
    is_first_.next_round();
    clicks_.clear();
    distinct_ = 0;
    // Backwards, so that the last click on a note comes first.
    for (int64_t event = end_ - 1; event >= begin_; --event) {
      if (!log_.is_click(event)) continue;
      const bool is_last_click = is_first_(log_.notes[event]);
      distinct_ += is_last_click;
      if (is_last_click || has_gap_limit_) clicks_.push_back(event);
    }
    std::reverse(clicks_.begin(), clicks_.end());
    require(std::ssize(clicks_) <= kMostClicks, "mine_pairs", "a user must have at most ",
            kMostClicks, " clicks, but user ", user, " has ", std::ssize(clicks_));
    return !clicks_.empty();
  }

  // The event numbers of the clicks that matter, in order.
  const std::vector<int64_t>& clicks() const { return clicks_; }
  int32_t distinct() const { return distinct_; }

  // Calls `visit(note, from, to)` for each view that clicks [from, to) follow. Both ends only move
  // forward, as the views do.
  template <typename Visit>
  void each_view(Visit&& visit) {
    is_first_.next_round();
    const auto clicks = static_cast<int32_t>(clicks_.size());
    int32_t from = 0, to = 0;
    for (int64_t view = begin_; view < end_; ++view) {
      if (!log_.is_view(view)) continue;
      if (!is_first_(log_.notes[view]) && !has_gap_limit_) continue;
      if (log_.is_ordered) {
        while (from < clicks && clicks_[from] <= view) ++from;
      }
      to = has_gap_limit_ ? std::max(to, from) : clicks;
      while (to < clicks && is_within_gap(view, clicks_[to])) ++to;
      if (from < to) visit(log_.notes[view], from, to);
    }
  }

 private:
  bool is_within_gap(int64_t view, int64_t click) const {
    if (options_.max_gap_events > 0 && click - view > options_.max_gap_events) return false;
    if (options_.max_gap_seconds == 0) return true;
    // Unsigned: the difference of two int64 times in order always fits.
    const auto gap =
        static_cast<uint64_t>(log_.times[click]) - static_cast<uint64_t>(log_.times[view]);
    return gap <= static_cast<uint64_t>(options_.max_gap_seconds);
  }

  const UserEvents& log_;
  const MiningOptions& options_;
  bool has_gap_limit_;
  FirstTime is_first_;
  int64_t begin_ = 0, end_ = 0;
  std::vector<int64_t> clicks_;
  int32_t distinct_ = 0;
};

// Consecutive users, about as many events as others have; read twice, to count and to fill in.
struct Share {
  UserRange users;
  int64_t rows = 0;             // of these users' clicks; then where the next one begins
  std::vector<int64_t> places;  // (N) how many views of each note; then where the next one belongs
  std::vector<int32_t> viewers, clickers;  // (N) by note, if a score needs them
  MiningReport report;
};

class Indexer {
 public:
  Indexer(const UserEvents& log,
          const std::vector<int64_t>& events,
          const MiningOptions& options,
          const ProgressFn& progress)
      : log_(log), events_(events), options_(options), progress_(progress) {
    index_.has_gap_limit = options.max_gap_seconds > 0 || options.max_gap_events > 0;
  }

  ViewIndex build(MiningReport& report) {
    number_by_events();
    report.events = std::ssize(log_.notes);
    report.notes_without_events = std::count(events_.begin(), events_.end(), 0);
    for (const UserRange& users : divide_users(log_, options_.threads))
      shares_.push_back({users, 0, {}, {}, {}, {}});
    in_shares([this](Share& share) { count(share); });
    for (const Share& share : shares_) add_user_counts(share.report, report);
    index_.people = report.users - report.users_too_long;
    add_people();
    find_places();
    in_shares([this](Share& share) { fill(share); });
    return std::move(index_);
  }

 private:
  template <typename Do>
  void in_shares(Do&& what) {
    const ProgressFn still_none = [this](int64_t, int64_t) {
      report_progress(progress_, 0, log_.note_count);
      return true;
    };
    run_tasks(
        std::ssize(shares_), options_.threads, [&](int64_t s) { what(shares_[s]); }, still_none);
  }

  void number_by_events() {
    index_.note_at.resize(log_.note_count);
    std::iota(index_.note_at.begin(), index_.note_at.end(), 0);
    std::stable_sort(index_.note_at.begin(), index_.note_at.end(),
                     [&](int32_t a, int32_t b) { return events_[a] > events_[b]; });
    index_.place_of.resize(log_.note_count);
    for (int64_t place = 0; place < log_.note_count; ++place)
      index_.place_of[index_.note_at[place]] = static_cast<int32_t>(place);
  }

  // Whether a user's events can give a pair; what is left out is counted.
  bool is_used(int64_t user, MiningReport& report) const {
    const int64_t begin = log_.offsets[user], end = log_.offsets[user + 1];
    if (begin == end) return false;
    ++report.users;
    if (options_.max_user_events > 0 && end - begin > options_.max_user_events) {
      ++report.users_too_long;
      report.events_of_long_users += end - begin;
      return false;
    }
    const auto notes = std::span(log_.notes).subspan(begin, end - begin);
    if (std::all_of(notes.begin(), notes.end(), [&](int32_t note) { return note == notes[0]; })) {
      ++report.users_with_one_note;
      return false;
    }
    return true;
  }

  bool needs_people() const {
    return options_.score == PairScore::kCosine || options_.score == PairScore::kPmi;
  }

  // Who viewed and who clicked each note, of users who are not left out.
  void count_people(Share& share) {
    FirstTime is_first(log_.note_count);
    for (auto* counts : {&share.viewers, &share.clickers}) {
      counts->assign(log_.note_count, 0);
      for (int64_t user = share.users.first; user < share.users.last; ++user) {
        const int64_t begin = log_.offsets[user], end = log_.offsets[user + 1];
        if (options_.max_user_events > 0 && end - begin > options_.max_user_events) continue;
        is_first.next_round();
        for (int64_t event = begin; event < end; ++event) {
          const bool counts_here =
              counts == &share.viewers ? log_.is_view(event) : log_.is_click(event);
          if (counts_here && is_first(log_.notes[event])) ++(*counts)[log_.notes[event]];
        }
      }
    }
  }

  void add_people() {
    if (!needs_people()) return;
    index_.viewers.assign(log_.note_count, 0);
    index_.clickers.assign(log_.note_count, 0);
    for (Share& share : shares_) {
      for (int64_t note = 0; note < log_.note_count; ++note) {
        index_.viewers[note] += share.viewers[note];
        index_.clickers[index_.place_of[note]] += share.clickers[note];
      }
      share.viewers = share.clickers = {};
    }
  }

  void count(Share& share) {
    if (needs_people()) count_people(share);
    UserReader reader(log_, options_);
    share.places.assign(log_.note_count, 0);
    for (int64_t user = share.users.first; user < share.users.last; ++user) {
      if (!is_used(user, share.report) || !reader.read(user)) continue;
      share.rows += UserClicks::rows(std::ssize(reader.clicks()));
      reader.each_view([&](int32_t note, int32_t, int32_t) { ++share.places[note]; });
    }
  }

  // Turns the counts of the shares into places: note by note, within a note share by share.
  void find_places() {
    auto& offsets = index_.offsets;
    offsets.assign(log_.note_count + 1, 0);
    int64_t place = 0;
    for (int64_t note = 0; note < log_.note_count; ++note) {
      offsets[note] = place;
      for (Share& share : shares_) {
        const int64_t views = share.places[note];
        share.places[note] = place;
        place += views;
      }
    }
    offsets[log_.note_count] = place;
    index_.views.resize(place);
    if (index_.has_gap_limit) index_.counts.resize(place);
    int64_t rows = 0;
    for (Share& share : shares_) rows += std::exchange(share.rows, rows);
    require(rows <= kMostRows, "mine_pairs", "a log must have at most ", kMostRows,
            " rows of four clicks, but has ", rows, "; try max_user_events, or mine on Spark");
    index_.clicks.resize(rows * UserClicks::kNumbersInRow);
  }

  void fill(Share& share) {
    UserReader reader(log_, options_);
    MiningReport counted_before;
    for (int64_t user = share.users.first; user < share.users.last; ++user) {
      if (!is_used(user, counted_before) || !reader.read(user)) continue;
      const auto row = static_cast<uint32_t>(share.rows);
      write_clicks(reader, share);
      reader.each_view([&](int32_t note, int32_t from, int32_t to) {
        const int64_t place = share.places[note]++;
        index_.views[place] = {row, from};
        if (index_.has_gap_limit) index_.counts[place] = to - from;
      });
    }
    share.places = {};
  }

  void write_clicks(const UserReader& reader, Share& share) {
    const int64_t count = std::ssize(reader.clicks());
    int32_t* to = &index_.clicks[share.rows * UserClicks::kNumbersInRow];
    to = std::ranges::copy(UserClicks::header(count, reader.distinct()), to).out;
    for (const int64_t event : reader.clicks()) *to++ = index_.place_of[log_.notes[event]];
    share.rows += UserClicks::rows(count);
  }

  static void add_user_counts(const MiningReport& from, MiningReport& to) {
    to.users += from.users;
    to.users_too_long += from.users_too_long;
    to.users_with_one_note += from.users_with_one_note;
    to.events_of_long_users += from.events_of_long_users;
  }

  const UserEvents& log_;
  const std::vector<int64_t>& events_;  // (N) of each note
  const MiningOptions& options_;
  const ProgressFn& progress_;
  ViewIndex index_;
  std::vector<Share> shares_;
};

}  // namespace

ViewIndex index_views(const UserEvents& log,
                      const std::vector<int64_t>& events,
                      const MiningOptions& options,
                      const ProgressFn& progress,
                      MiningReport& report) {
  return Indexer(log, events, options, progress).build(report);
}

}  // namespace notellm::internal
