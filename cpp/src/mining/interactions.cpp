#include "notellm/mining/interactions.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "notellm/util/check.h"

namespace notellm {
namespace {

constexpr int64_t kMaxCodes = std::numeric_limits<int32_t>::max();
constexpr int64_t kRowsBetweenReports = int64_t{1} << 20;

// Named as the Python function that users call.
constexpr internal::Require require("mine_pairs");

void check_log(const InteractionLog& log) {
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
  for (size_t row = 0; row < rows; ++row) {
    require(log.users[row] >= 0 && log.users[row] < log.user_count, "users must be in [0, ",
            log.user_count, "), but row ", row, " is ", log.users[row]);
    require(log.notes[row] >= 0 && log.notes[row] < log.note_count, "notes must be in [0, ",
            log.note_count, "), but row ", row, " is ", log.notes[row]);
    if (!log.events.empty()) {
      const int event = log.events[row];
      require(event == 0 || event == 1, "events must be 0 (view) or 1 (click), but row ", row,
              " is ", event);
    }
  }
}

// (E) rows of the log grouped by user, each group in file order; fills `offsets` on the way.
std::vector<int64_t> rows_by_user(const InteractionLog& log, std::vector<int64_t>& offsets) {
  offsets.assign(log.user_count + 1, 0);
  for (const int64_t user : log.users) ++offsets[user + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
  std::vector<int64_t> rows(log.users.size());
  for (size_t row = 0; row < rows.size(); ++row) rows[next[log.users[row]]++] = row;
  return rows;
}

void sort_by_time(const InteractionLog& log, std::span<int64_t> rows) {
  const auto is_earlier = [&](int64_t a, int64_t b) { return log.times[a] < log.times[b]; };
  if (!std::is_sorted(rows.begin(), rows.end(), is_earlier)) {
    std::stable_sort(rows.begin(), rows.end(), is_earlier);
  }
}

template <typename Out, typename In>
std::vector<Out> gather(std::span<const In> column, const std::vector<int64_t>& rows) {
  if (column.empty()) return {};
  std::vector<Out> gathered(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) gathered[i] = static_cast<Out>(column[rows[i]]);
  return gathered;
}

}  // namespace

UserEvents group_by_user(const InteractionLog& log, const ProgressFn& progress) {
  check_log(log);
  report_progress(progress, 0, log.note_count);
  UserEvents grouped;
  std::vector<int64_t> rows = rows_by_user(log, grouped.offsets);
  if (log.is_ordered && !log.times.empty()) {
    int64_t next_report = 0;
    for (int64_t user = 0; user < log.user_count; ++user) {
      const int64_t begin = grouped.offsets[user];
      if (begin >= next_report) {
        report_progress(progress, 0, log.note_count);
        next_report = begin + kRowsBetweenReports;
      }
      sort_by_time(log, std::span(rows).subspan(begin, grouped.offsets[user + 1] - begin));
    }
  }
  grouped.notes = gather<int32_t>(log.notes, rows);
  grouped.times = gather<int64_t>(log.times, rows);
  grouped.events = gather<int8_t>(log.events, rows);
  grouped.note_count = log.note_count;
  grouped.is_ordered = log.is_ordered;
  return grouped;
}

}  // namespace notellm
