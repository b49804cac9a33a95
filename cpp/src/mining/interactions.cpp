#include "notellm/mining/interactions.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "large_vector.h"
#include "notellm/util/check.h"
#include "notellm/util/parallel.h"

namespace notellm {
namespace {

constexpr int64_t kMaxCodes = std::numeric_limits<int32_t>::max();

// Named as the Python function that users call.
constexpr internal::Require require("mine_pairs");

void check_sizes(const InteractionLog& log) {
  const auto rows = log.users.size();
  require(log.notes.size() == rows && (log.times.empty() || log.times.size() == rows) &&
              (log.events.empty() || log.events.size() == rows),
          "the columns of a log must have the same length, but have ", rows, " users, ",
          log.notes.size(), " notes, ", log.times.size(), " times and ", log.events.size(),
          " events");
  require(log.user_count >= 0 && log.user_count <= kMaxCodes && log.note_count >= 0 &&
              log.note_count <= kMaxCodes,
          "a log must have at most 2^31 - 1 users and notes, but has ", log.user_count, " and ",
          log.note_count);
}

// The first code outside [0, count), or the column's size.
template <typename Code>
size_t first_outside(std::span<const Code> codes, int64_t count) {
  uint64_t largest = 0;  // negative codes are the largest of all
  for (const Code code : codes) largest = std::max(largest, static_cast<uint64_t>(code));
  if (codes.empty() || largest < static_cast<uint64_t>(count)) return codes.size();
  const auto is_outside = [count](Code code) {
    return static_cast<uint64_t>(code) >= static_cast<uint64_t>(count);
  };
  return std::find_if(codes.begin(), codes.end(), is_outside) - codes.begin();
}

void check_codes(const InteractionLog& log) {
  const auto rows = log.users.size();
  const size_t user = first_outside(log.users, log.user_count);
  const size_t note = first_outside(log.notes, log.note_count);
  const size_t event = first_outside(log.events, 2);
  require(user == rows, "users must be in [0, ", log.user_count, "), but row ", user, " is ",
          user < rows ? log.users[user] : 0);
  require(note == rows, "notes must be in [0, ", log.note_count, "), but row ", note, " is ",
          note < rows ? log.notes[note] : 0);
  require(event == log.events.size(), "events must be 0 (view) or 1 (click), but row ", event,
          " is ", event < log.events.size() ? int{log.events[event]} : 0);
}

// Groups the rows of a log by user, for a range of users at a time: each range reads all rows, and
// writes only what is its own.
class Grouper {
 public:
  Grouper(const InteractionLog& log, int threads, const ProgressFn& progress)
      : log_(log), threads_(threads), progress_(progress) {}

  UserEvents group() {
    const int64_t users = log_.user_count, wanted = threads_ > 0 ? threads_ : num_threads();
    const int64_t ranges = std::clamp<int64_t>(wanted, 1, kMostRanges);
    const auto first = [&](int64_t range) {
      return users / ranges * range + users % ranges * range / ranges;
    };
    const auto in_ranges = [&](auto&& what) {
      run_tasks(
          ranges, threads_, [&](int64_t r) { what(first(r), first(r + 1)); }, still_none());
    };
    grouped_.note_count = log_.note_count;
    grouped_.is_ordered = log_.is_ordered;
    grouped_.offsets.assign(users + 1, 0);
    in_ranges([this](int64_t begin, int64_t end) { count(begin, end); });
    std::partial_sum(grouped_.offsets.begin(), grouped_.offsets.end(), grouped_.offsets.begin());
    grouped_.notes.resize(log_.notes.size());
    grouped_.times.resize(log_.times.size());
    grouped_.events.resize(log_.events.size());
    in_ranges([this](int64_t begin, int64_t end) { place(begin, end); });
    if (log_.is_ordered && !log_.times.empty())
      in_ranges([this](int64_t begin, int64_t end) { sort(begin, end); });
    return std::move(grouped_);
  }

 private:
  static constexpr int64_t kMostRanges = 16;

  ProgressFn still_none() const {
    return [this](int64_t, int64_t) {
      report_progress(progress_, 0, log_.note_count);
      return true;
    };
  }

  void count(int64_t begin, int64_t end) {
    for (const int64_t user : log_.users)
      if (begin <= user && user < end) ++grouped_.offsets[user + 1];
  }

  void place(int64_t begin, int64_t end) {
    LargeVector<int64_t> next(grouped_.offsets.begin() + begin, grouped_.offsets.begin() + end);
    for (size_t row = 0; row < log_.users.size(); ++row) {
      const int64_t user = log_.users[row];
      if (user < begin || end <= user) continue;
      const int64_t at = next[user - begin]++;
      grouped_.notes[at] = static_cast<int32_t>(log_.notes[row]);
      if (!log_.times.empty()) grouped_.times[at] = log_.times[row];
      if (!log_.events.empty()) grouped_.events[at] = log_.events[row];
    }
  }

  // By time; events of equal times stay in file order.
  void sort(int64_t begin, int64_t end) {
    std::vector<int64_t> order;
    for (int64_t user = begin; user < end; ++user) {
      const int64_t at = grouped_.offsets[user], count = grouped_.offsets[user + 1] - at;
      const auto times = std::span(grouped_.times).subspan(at, count);
      if (std::is_sorted(times.begin(), times.end())) continue;
      order.resize(count);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return times[a] < times[b]; });
      reorder(std::span(grouped_.notes).subspan(at, count), order);
      if (!grouped_.events.empty()) reorder(std::span(grouped_.events).subspan(at, count), order);
      reorder(times, order);
    }
  }

  template <typename Value>
  static void reorder(std::span<Value> values, const std::vector<int64_t>& order) {
    const std::vector<Value> before(values.begin(), values.end());
    for (size_t i = 0; i < order.size(); ++i) values[i] = before[order[i]];
  }

  const InteractionLog& log_;
  int threads_;
  const ProgressFn& progress_;
  UserEvents grouped_;
};

}  // namespace

UserEvents group_by_user(const InteractionLog& log, const ProgressFn& progress, int threads) {
  check_sizes(log);
  check_codes(log);
  report_progress(progress, 0, log.note_count);
  return Grouper(log, threads, progress).group();
}

}  // namespace notellm
