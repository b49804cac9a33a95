#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "notellm/mining/cooccurrence.h"
#include "sums.h"
#include "views.h"

// From sums to the partners of a source note that are kept.
namespace notellm::internal {

struct Partner {
  int32_t note;
  int32_t users;
  int64_t units;
};

inline bool is_better(const Partner& a, const Partner& b) {
  return a.units != b.units ? a.units > b.units : a.note < b.note;
}

// Puts another score in the place of the sums of a source note.
class Scorer {
 public:
  Scorer(const ViewIndex& index, PairScore score)
      : index_(index), score_(score), people_(static_cast<double>(index.people)) {}

  void operator()(int32_t source, std::span<Sum> sums) const {
    if (score_ == PairScore::kNoteLLM || score_ == PairScore::kSwing) return;
    for (Sum& sum : sums) sum.units = to_units(score(source, sum));
  }

 private:
  double score(int32_t source, const Sum& sum) const {
    const double together = sum.users;
    if (score_ == PairScore::kCount) return together;
    const double apart = static_cast<double>(index_.viewers[source]) * index_.clickers[sum.place];
    if (score_ == PairScore::kCosine) return together / std::sqrt(apart);
    return std::max(0.0, std::log(together * people_ / apart));
  }

  const ViewIndex& index_;
  PairScore score_;
  double people_;
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
        room_(options.top <= kFew ? options.top : 2 * std::min(options.top, std::ssize(note_at))) {}

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
  // So few partners are searched for the worst each time one is better; more are gathered until
  // they are twice as many, and cut.
  static constexpr int64_t kFew = 32;

  void keep(const Sum& sum) {
    const int32_t note = note_at_[sum.place];
    if (is_full_ && sum.units == worst_.units && note > worst_.note) return;
    const Partner partner{note, sum.users, sum.units};
    if (is_full_ && options_.top <= kFew)
      kept_[worst_at_] = partner;
    else
      kept_.push_back(partner);
    if (options_.top > 0 && std::ssize(kept_) == room_) {
      if (room_ > options_.top) cut();
      find_worst();
    }
  }

  // Leaves the best `top`.
  void cut() {
    std::nth_element(kept_.begin(), kept_.begin() + options_.top - 1, kept_.end(), is_better);
    kept_.resize(options_.top);
  }

  // Without branches: which partner is worse cannot be foretold.
  void find_worst() {
    worst_ = kept_[0];
    worst_at_ = 0;
    for (size_t i = 1; i < kept_.size(); ++i) {
      const Partner& partner = kept_[i];
      const bool is_worse = (partner.units < worst_.units) |
                            ((partner.units == worst_.units) & (partner.note > worst_.note));
      worst_at_ = is_worse ? i : worst_at_;
      worst_.units = is_worse ? partner.units : worst_.units;
      worst_.note = is_worse ? partner.note : worst_.note;
    }
    is_full_ = true;
  }

  const MiningOptions& options_;
  const std::vector<int32_t>& note_at_;
  int64_t least_, lower_, upper_;
  int64_t room_;  // partners kept until the worst is known; never reached where all may stay
  std::vector<Partner> kept_;  // at times more than `top` of them
  bool is_full_ = false;       // whether `worst_` is the worst of `top` partners
  Partner worst_{};            // its number of users is not kept
  size_t worst_at_ = 0;        // where it is in `kept_`
  int64_t passing_ = 0;        // partners of the source note within all bounds but `top`
  static constexpr size_t kHistograms = 4;
  std::array<std::array<int64_t, 64>, kHistograms> histograms_{};  // by a score's width in bits
  MiningReport report_;
};

}  // namespace notellm::internal
