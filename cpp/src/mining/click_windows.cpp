#include "click_windows.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

namespace notellm::internal {
namespace {

constexpr int64_t kUsersBetweenReports = 4096;

// Tells whether a note is new to the current round, in O(1) and without clearing between rounds.
class FirstTime {
 public:
  explicit FirstTime(int64_t notes) : last_round_(notes, 0) {}
  void next_round() { ++round_; }
  bool operator()(int32_t note) {
    const bool is_new = last_round_[note] != round_;
    last_round_[note] = round_;
    return is_new;
  }

 private:
  std::vector<int64_t> last_round_;
  int64_t round_ = 0;
};

class WindowBuilder {
 public:
  WindowBuilder(const UserEvents& log, const MiningOptions& options, MiningReport& report)
      : log_(log), options_(options), report_(report), is_first_(log.note_count) {
    result_.units.assign(log.user_count(), 0);
    result_.may_repeat = options.max_gap_seconds > 0 || options.max_gap_events > 0;
  }

  ClickWindows build(const ProgressFn& progress) {
    for (int64_t user = 0; user < log_.user_count(); ++user) {
      if (user % kUsersBetweenReports == 0) report_progress(progress, 0, log_.note_count);
      add_user(user);
    }
    group_by_note();
    return std::move(result_);
  }

 private:
  void add_user(int64_t user) {
    const int64_t begin = log_.offsets[user], end = log_.offsets[user + 1];
    if (begin == end) return;
    ++report_.users;
    if (options_.max_user_events > 0 && end - begin > options_.max_user_events) {
      ++report_.users_too_long;
      report_.events_of_long_users += end - begin;
      return;
    }
    const auto notes = std::span(log_.notes).subspan(begin, end - begin);
    if (std::all_of(notes.begin(), notes.end(), [&](int32_t note) { return note == notes[0]; })) {
      ++report_.users_with_one_note;
      return;
    }
    const int64_t first_click = std::ssize(result_.clicks);
    const int64_t clicked = add_clicks(begin, end);
    if (clicked == 0) return;
    result_.units[user] = ((int64_t{1} << kScoreUnitBits) + clicked / 2) / clicked;
    add_views(user, first_click);
  }

  // Appends the user's clicks in order; returns N_i, how many distinct notes they clicked.
  int64_t add_clicks(int64_t begin, int64_t end) {
    is_first_.next_round();
    click_events_.clear();
    int64_t distinct = 0;
    // Backwards, so that the last click on a note comes first.
    for (int64_t event = end - 1; event >= begin; --event) {
      if (!log_.is_click(event)) continue;
      const bool is_last_click = is_first_(log_.notes[event]);
      distinct += is_last_click;
      if (is_last_click || result_.may_repeat) click_events_.push_back(event);
    }
    std::reverse(click_events_.begin(), click_events_.end());
    for (const int64_t event : click_events_) result_.clicks.push_back(log_.notes[event]);
    return distinct;
  }

  // Both ends of the window only move forward, as the views do.
  void add_views(int64_t user, int64_t first_click) {
    is_first_.next_round();
    const int64_t clicks = std::ssize(click_events_);
    int64_t from = 0, to = 0;
    for (int64_t view = log_.offsets[user]; view < log_.offsets[user + 1]; ++view) {
      if (!log_.is_view(view)) continue;
      if (!is_first_(log_.notes[view]) && !result_.may_repeat) continue;
      if (log_.is_ordered) {
        while (from < clicks && click_events_[from] <= view) ++from;
      }
      to = std::max(to, from);
      while (to < clicks && is_within_gap(view, click_events_[to])) ++to;
      if (from == to) continue;
      viewed_.push_back(log_.notes[view]);
      unsorted_.push_back(
          {first_click + from, static_cast<int32_t>(to - from), static_cast<int32_t>(user)});
    }
  }

  bool is_within_gap(int64_t view, int64_t click) const {
    if (options_.max_gap_events > 0 && click - view > options_.max_gap_events) return false;
    if (options_.max_gap_seconds == 0) return true;
    // Unsigned: the difference of two int64 times in order always fits.
    const auto gap =
        static_cast<uint64_t>(log_.times[click]) - static_cast<uint64_t>(log_.times[view]);
    return gap <= static_cast<uint64_t>(options_.max_gap_seconds);
  }

  void group_by_note() {
    auto& offsets = result_.offsets;
    offsets.assign(log_.note_count + 1, 0);
    for (const int32_t note : viewed_) ++offsets[note + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
    result_.windows.resize(viewed_.size());
    for (size_t i = 0; i < viewed_.size(); ++i) {
      result_.windows[next[viewed_[i]]++] = unsorted_[i];
    }
  }

  const UserEvents& log_;
  const MiningOptions& options_;
  MiningReport& report_;
  FirstTime is_first_;
  ClickWindows result_;
  std::vector<int64_t> click_events_;  // the current user's kept clicks, as event numbers
  std::vector<int32_t> viewed_;        // the note of each window, in user order
  std::vector<ClickWindow> unsorted_;  // the windows, in user order
};

}  // namespace

ClickWindows build_click_windows(const UserEvents& log,
                                 const MiningOptions& options,
                                 const ProgressFn& progress,
                                 MiningReport& report) {
  report.events = std::ssize(log.notes);
  std::vector<bool> has_event(log.note_count, false);
  for (const int32_t note : log.notes) has_event[note] = true;
  report.notes_without_events = std::count(has_event.begin(), has_event.end(), false);
  return WindowBuilder(log, options, report).build(progress);
}

}  // namespace notellm::internal
