#pragma once

#include <cstdint>

#include "large_vector.h"

namespace notellm::internal {

/// Tells whether a note is new to the current round, in O(1) and without clearing between rounds.
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
  LargeVector<int64_t> last_round_;
  int64_t round_ = 0;
};

}  // namespace notellm::internal
