#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "large_vector.h"
#include "notellm/mining/cooccurrence.h"

// What one thread sums for a source note: a score and a number of users for each of its partners.
namespace notellm::internal {

inline constexpr int64_t kMaxUnits = std::numeric_limits<int64_t>::max();

inline int64_t saturating_add(int64_t a, int64_t b) {
  return a > kMaxUnits - b ? kMaxUnits : a + b;
}

inline int64_t to_units(double score) {
  const double units = std::ldexp(score, kScoreUnitBits);
  return units >= static_cast<double>(kMaxUnits) ? kMaxUnits : std::llround(units);
}

// A sum of a source note; 0 users: none.
struct Sum {
  int64_t units = 0;
  int32_t users = 0;
  int32_t place = 0;
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
      visit(std::span<Sum>(some_.data(), filled));
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
      visit(std::span<Sum>(some_.data(), filled));
    }
  }

 private:
  int user_shift_ = 0;
  int64_t count_ = 0;
  LargeVector<uint64_t> cells_;
  LargeVector<int32_t> touched_;
  std::array<Sum, 1024> some_;
};

}  // namespace notellm::internal
