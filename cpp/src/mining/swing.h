#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "large_vector.h"
#include "sums.h"
#include "views.h"

namespace notellm::internal {

/// The Swing scores of one source note after another (Yang et al., arXiv 2010.05525), for one
/// thread: each pair of supporters adds w_u w_v / (alpha + |I_u and I_v|), rounded to a unit.
///
/// For a source with m users the notes of these users are turned into lists of the users of each
/// note. User after user, the lists of the user's notes give how many notes each later user shares;
/// the lists of the notes clicked after the source give the pairs that add to a partner. So pairs
/// of users without a common note cost nothing.
///
/// Cost of a source: time proportional to the sum over notes B of (users of both A and B)^2; memory
/// O(N), and O(notes of the source's users).
class SwingSums {
 public:
  SwingSums(const ViewIndex& index, double alpha) : index_(index), alpha_(alpha) {}

  /// The sums of a source's partners, in any order; valid until the next call.
  std::span<const Sum> of(int32_t source);

 private:
  // A note of a user, who is implied by where it stands.
  struct Entry {
    int32_t slot;
    bool is_after;  // whether the user clicked it after the source
  };

  void gather(int32_t source);
  void add_user(int64_t begin, int64_t end);
  void list_users();
  void add_pairs(int64_t user, int32_t own_slot);
  int64_t unit_of(int64_t user, int64_t other) const;

  const ViewIndex& index_;
  double alpha_;
  LargeVector<int32_t> slot_of_;      // (N) by place; -1 between calls
  std::vector<int32_t> places_;       // by slot: the notes of the source's users
  std::vector<int64_t> latest_;       // by slot: the newest entry
  std::vector<Entry> entries_;        // user by user
  std::vector<int64_t> user_begins_;  // of each user's entries, and the end
  std::vector<double> weights_;       // 1 / sqrt(N_i) of each user
  std::vector<int64_t> list_ends_;    // by slot
  std::vector<int64_t> next_;         // by slot: where the users begin that are not done yet
  std::vector<uint32_t> lists_;       // slot by slot, users ascending: 2 x user + is_after
  std::vector<int32_t> shared_;       // by user: notes in common with the current one
  std::vector<int64_t> units_;        // by user: what a pair with the current one adds; -1: unknown
  std::vector<Sum> sums_;             // by slot
  std::vector<Sum> found_;
};

}  // namespace notellm::internal
