#include "sample.h"

#include <algorithm>
#include <limits>

#include "first_time.h"
#include "notellm/util/random.h"

namespace notellm::internal {
namespace {

// Draws that share the seed, kept apart.
enum Stream : uint64_t { kNotesOfUser = 1, kUsersOfNote = 2 };

constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();

class Sampler {
 public:
  Sampler(const UserEvents& log,
          const MiningOptions& options,
          const ProgressFn& progress,
          MiningReport& report)
      : log_(log),
        options_(options),
        progress_(progress),
        report_(report),
        is_first_(log.note_count),
        is_kept_(log.notes.size(), 0) {}

  UserEvents sample() {
    report_.events = std::ssize(log_.notes);
    each_user([this](int64_t user) { keep_notes_of(user); });
    if (options_.sample_note_users > 0) keep_users_of_notes();
    return kept();
  }

 private:
  // Words of different notes of a user, or users of a note, differ: each step of `random_word` is
  // one to one. So a threshold keeps exactly as many as wanted.
  uint64_t word(Stream stream, int64_t of, int64_t which) const {
    return random_word(options_.sample_seed, stream, of, which);
  }

  template <typename Visit>
  void each_user(Visit&& visit) {
    for (int64_t user = 0; user < log_.user_count(); ++user) {
      if (user % 65536 == 0) report_progress(progress_, 0, log_.note_count);
      visit(user);
    }
  }

  // Calls `visit(note)` for each distinct note of a user's kept events.
  template <typename Visit>
  void each_note(int64_t user, Visit&& visit) {
    is_first_.next_round();
    for (int64_t event = log_.offsets[user]; event < log_.offsets[user + 1]; ++event)
      if (is_kept_[event] && is_first_(log_.notes[event])) visit(log_.notes[event]);
  }

  // The largest of the `count` smallest words; the order of the words changes.
  static uint64_t threshold_of(std::span<uint64_t> words, int64_t count) {
    std::nth_element(words.begin(), words.begin() + count - 1, words.end());
    return words[count - 1];
  }

  void keep_notes_of(int64_t user) {
    const int64_t begin = log_.offsets[user], end = log_.offsets[user + 1];
    if (begin == end) return;
    ++report_.users;
    if (options_.max_user_events > 0 && end - begin > options_.max_user_events) {
      ++report_.users_too_long;
      report_.events_of_long_users += end - begin;
      return;
    }
    std::fill(is_kept_.begin() + begin, is_kept_.begin() + end, 1);
    const int64_t most = options_.sample_user_notes;
    if (most == 0 || end - begin <= most) return;
    words_.clear();
    each_note(user, [&](int32_t note) { words_.push_back(word(kNotesOfUser, user, note)); });
    if (std::ssize(words_) <= most) return;
    ++report_.users_sampled;
    const uint64_t threshold = threshold_of(words_, most);
    for (int64_t event = begin; event < end; ++event)
      is_kept_[event] = word(kNotesOfUser, user, log_.notes[event]) <= threshold;
    report_.events_of_sampled_users +=
        std::count(is_kept_.begin() + begin, is_kept_.begin() + end, 0);
  }

  void keep_users_of_notes() {
    const std::vector<uint64_t> thresholds = thresholds_of_notes();
    each_user([&](int64_t user) {
      for (int64_t event = log_.offsets[user]; event < log_.offsets[user + 1]; ++event) {
        const int32_t note = log_.notes[event];
        if (!is_kept_[event] || thresholds[note] == kAll) continue;
        is_kept_[event] = word(kUsersOfNote, note, user) <= thresholds[note];
        report_.events_of_sampled_notes += !is_kept_[event];
      }
    });
  }

  // (N) the largest word of the users that a note keeps.
  std::vector<uint64_t> thresholds_of_notes() {
    std::vector<int64_t> users(log_.note_count, 0), next(log_.note_count, -1);
    each_user([&](int64_t user) { each_note(user, [&](int32_t note) { ++users[note]; }); });
    int64_t words = 0;
    for (int64_t note = 0; note < log_.note_count; ++note) {
      if (users[note] <= options_.sample_note_users) continue;
      next[note] = words;
      words += users[note];
      ++report_.notes_sampled;
    }
    words_.resize(words);
    each_user([&](int64_t user) {
      each_note(user, [&](int32_t note) {
        if (next[note] >= 0) words_[next[note]++] = word(kUsersOfNote, note, user);
      });
    });
    std::vector<uint64_t> thresholds(log_.note_count, kAll);
    for (int64_t note = 0; note < log_.note_count; ++note) {
      if (next[note] < 0) continue;
      const auto own = std::span(words_).subspan(next[note] - users[note], users[note]);
      thresholds[note] = threshold_of(own, options_.sample_note_users);
    }
    return thresholds;
  }

  UserEvents kept() const {
    UserEvents some;
    some.note_count = log_.note_count;
    some.is_ordered = log_.is_ordered;
    some.offsets.assign(1, 0);
    some.offsets.reserve(log_.offsets.size());
    const int64_t count = std::count(is_kept_.begin(), is_kept_.end(), 1);
    some.notes.reserve(count);
    if (!log_.times.empty()) some.times.reserve(count);
    if (!log_.events.empty()) some.events.reserve(count);
    for (int64_t user = 0; user < log_.user_count(); ++user) {
      for (int64_t event = log_.offsets[user]; event < log_.offsets[user + 1]; ++event) {
        if (!is_kept_[event]) continue;
        some.notes.push_back(log_.notes[event]);
        if (!log_.times.empty()) some.times.push_back(log_.times[event]);
        if (!log_.events.empty()) some.events.push_back(log_.events[event]);
      }
      some.offsets.push_back(std::ssize(some.notes));
    }
    return some;
  }

  const UserEvents& log_;
  const MiningOptions& options_;
  const ProgressFn& progress_;
  MiningReport& report_;
  FirstTime is_first_;
  std::vector<uint8_t> is_kept_;  // of each event
  std::vector<uint64_t> words_;
};

}  // namespace

UserEvents sample(const UserEvents& log,
                  const MiningOptions& options,
                  const ProgressFn& progress,
                  MiningReport& report) {
  return Sampler(log, options, progress, report).sample();
}

}  // namespace notellm::internal
