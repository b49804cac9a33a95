#include "swing.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace notellm::internal {

std::span<const Sum> SwingSums::of(int32_t source) {
  gather(source);
  list_users();
  const int32_t own = slot_of_[index_.place_of[source]];
  for (int64_t user = 0; user < std::ssize(weights_); ++user) add_pairs(user, own);
  found_.clear();
  for (int64_t slot = 0; slot < std::ssize(places_); ++slot) {
    if (slot != own && sums_[slot].users > 0) found_.push_back(sums_[slot]);
    slot_of_[places_[slot]] = -1;
  }
  return found_;
}

// Reads the users of the source and all their notes.
void SwingSums::gather(int32_t source) {
  if (slot_of_.empty()) slot_of_.assign(index_.note_at.size(), -1);
  places_.clear();
  latest_.clear();
  entries_.clear();
  weights_.clear();
  user_begins_.assign(1, 0);
  const int64_t end = index_.offsets[source + 1];
  for (int64_t begin = index_.offsets[source], next = begin; begin < end; begin = next) {
    while (next < end && index_.views[next].user == index_.views[begin].user) ++next;
    add_user(begin, next);
  }
}

// Adds a user with views [begin, end) of the source; with a gap limit these may be several, and a
// note may be clicked several times.
void SwingSums::add_user(int64_t begin, int64_t end) {
  const UserClicks user = index_.user_of(index_.views[begin]);
  const int64_t first = std::ssize(entries_);
  for (const int32_t place : user.clicks()) {
    int32_t& slot = slot_of_[place];
    if (slot < 0) {
      slot = static_cast<int32_t>(places_.size());
      places_.push_back(place);
      latest_.push_back(-1);
    }
    if (latest_[slot] >= first) continue;
    latest_[slot] = std::ssize(entries_);
    entries_.push_back({slot, false});
  }
  for (int64_t view = begin; view < end; ++view)
    for (const int32_t place : index_.clicks_after(view))
      entries_[latest_[slot_of_[place]]].is_after = true;
  user_begins_.push_back(std::ssize(entries_));
  weights_.push_back(1 / std::sqrt(static_cast<double>(user.distinct())));
}

// Regroups the users' notes by note, and counts each note's supporters.
void SwingSums::list_users() {
  const size_t slots = places_.size();
  list_ends_.assign(slots, 0);
  for (const Entry& entry : entries_) ++list_ends_[entry.slot];
  next_.resize(slots);
  sums_.resize(slots);
  int64_t begin = 0;
  for (size_t slot = 0; slot < slots; ++slot) {
    next_[slot] = begin;
    begin += std::exchange(list_ends_[slot], begin);
    sums_[slot] = {0, 0, places_[slot]};
  }
  lists_.resize(entries_.size());
  for (int64_t user = 0; user < std::ssize(weights_); ++user) {
    for (int64_t e = user_begins_[user]; e < user_begins_[user + 1]; ++e) {
      const Entry& entry = entries_[e];
      lists_[list_ends_[entry.slot]++] = static_cast<uint32_t>(2 * user + entry.is_after);
      sums_[entry.slot].users += entry.is_after;
    }
  }
  shared_.resize(weights_.size());
  units_.resize(weights_.size());
}

// Adds the pairs of a user with all later ones; users come in order.
void SwingSums::add_pairs(int64_t user, int32_t own_slot) {
  std::fill(shared_.begin() + user, shared_.end(), 0);
  std::fill(units_.begin() + user, units_.end(), -1);
  const auto own =
      std::span(entries_).subspan(user_begins_[user], user_begins_[user + 1] - user_begins_[user]);
  for (const Entry& entry : own) {
    ++next_[entry.slot];  // past the user
    for (int64_t at = next_[entry.slot]; at < list_ends_[entry.slot]; ++at)
      ++shared_[lists_[at] / 2];
  }
  for (const Entry& entry : own) {
    if (!entry.is_after || entry.slot == own_slot) continue;
    int64_t sum = sums_[entry.slot].units;
    for (int64_t at = next_[entry.slot]; at < list_ends_[entry.slot]; ++at) {
      if (lists_[at] % 2 == 0) continue;
      int64_t& unit = units_[lists_[at] / 2];
      if (unit < 0) unit = unit_of(user, lists_[at] / 2);
      sum = saturating_add(sum, unit);
    }
    sums_[entry.slot].units = sum;
  }
}

int64_t SwingSums::unit_of(int64_t user, int64_t other) const {
  const double share = weights_[user] * weights_[other] / (alpha_ + shared_[other]);
  return std::llrint(share * static_cast<double>(int64_t{1} << kScoreUnitBits));
}

}  // namespace notellm::internal
