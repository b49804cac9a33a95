#include "bf16_filter.h"

#include <cmath>
#include <limits>

namespace notellm::internal {
namespace {

using kernels::kTileBlock;

constexpr int64_t kNotes = 64;  // filtered at once: their parts should fit the first cache
constexpr int64_t kGroupBytes = 1 << 20;  // the parts of a group should fit the second cache
constexpr int64_t kSmallestGroup = 256, kLargestGroup = int64_t{1} << 20;
constexpr int64_t kNotesPerReport = 1 << 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

int64_t padded(int64_t count) { return (count + kTileBlock - 1) / kTileBlock * kTileBlock; }

// A tile adds products in an order of its own; the padding's zeros are terms too.
TileProducts products_of(int64_t width, int64_t parts, double missing) {
  return {parts * padded(width) + 2 * kTileBlock, missing};
}

// |q n - q_high n_high| <= (2 e + e^2) |q| |n| for parts that are off by e = kHighError.
double missing_in_coarse() { return kernels::kHighError * (2 + kernels::kHighError); }

// Of q n, the fine score lacks q_low n_low, and what is left of q and of n.
double missing_in_fine() {
  return (kernels::kHighError * kernels::kHighError + 2 * kernels::kLowError) *
         (1 + 2 * kernels::kHighError);
}

}  // namespace

bool has_bf16_filter(const Vectors& queries) {
  return queries.compute.is_cpu() && queries.host.scalar_type() == at::kFloat &&
         kernels::has_bf16_tiles();
}

Bf16Bounds::Bf16Bounds(const Vectors& queries, const Vectors& pool)
    : coarse(queries, pool, products_of(queries.width(), 1, missing_in_coarse())),
      fine(queries, pool, products_of(queries.width(), 3, missing_in_fine())) {}

QueryGroup::QueryGroup(const Vectors& queries, int64_t first, int64_t count)
    : first(first),
      count(count),
      width(padded(queries.width())),
      high(padded(count) * width),
      low(padded(count) * width) {
  const int64_t d = queries.width();
  const auto* const rows = queries.host.const_data_ptr<float>() + first * d;
  for (int64_t i = 0; i < count; i += kTileBlock) {
    kernels::split_queries(rows + i * d, std::min(kTileBlock, count - i), d, width,
                           high.data() + i * width, low.data() + i * width);
  }
}

GroupFilter::GroupFilter(const QueryGroup& group, const Bf16Bounds& bounds)
    : group_(group),
      bounds_(bounds),
      coarse_low_(padded(group.count), kInfinity),
      coarse_high_(padded(group.count), kInfinity),
      fine_low_(padded(group.count), kInfinity),
      fine_high_(padded(group.count), kInfinity),
      counts_(padded(group.count), 0),
      greater_(padded(group.count), 0),
      high_(kNotes * group.width),
      low_(kNotes * group.width) {}

void GroupFilter::compare_with(int64_t query, double low, double high) {
  const auto below = [](double value) {
    return std::nextafter(static_cast<float>(value), -kInfinity);
  };
  const auto above = [](double value) {
    return std::nextafter(static_cast<float>(value), kInfinity);
  };
  const int64_t i = query - group_.first;
  coarse_low_[i] = below(low - bounds_.coarse(query));
  coarse_high_[i] = above(high + bounds_.coarse(query));
  fine_low_[i] = below(low - bounds_.fine(query));
  fine_high_[i] = above(high + bounds_.fine(query));
}

void GroupFilter::add_notes(const Vectors& pool, int64_t n0, int64_t n1) {
  const auto found = [](void* self, int64_t query, int64_t note, float score) {
    auto* const filter = static_cast<GroupFilter*>(self);
    if (query >= filter->group_.count) return;  // padding, where a product is not a number
    filter->open(filter->group_.first + query, filter->first_note_ + note, score);
  };
  const kernels::ScoreFilter scores{group_.high.data(),
                                    group_.low.data(),
                                    padded(group_.count),
                                    group_.width,
                                    {coarse_low_.data(), coarse_high_.data()},
                                    {fine_low_.data(), fine_high_.data()},
                                    counts_.data(),
                                    found,
                                    this};
  const int64_t d = pool.width();
  for (first_note_ = n0; first_note_ < n1; first_note_ += kNotes) {
    const int64_t notes = std::min(kNotes, n1 - first_note_);
    const auto* const rows = pool.host.const_data_ptr<float>() + first_note_ * d;
    kernels::split_notes(rows, notes, d, group_.width, high_.data(), low_.data());
    kernels::filter_scores(scores, high_.data(), low_.data(), notes);
  }
  for (int64_t i = 0; i < group_.count; ++i) greater_[i] += std::exchange(counts_[i], 0);
}

TileOptions filter_tiles(const TileOptions& wanted, int64_t width, int64_t kept_bytes) {
  const int64_t fitting =
      kGroupBytes / (2 * sizeof(kernels::Bf16) * padded(std::max<int64_t>(width, 1)));
  const int64_t queries = wanted.queries > 0 ? std::min(wanted.queries, kLargestGroup)
                                             : std::max(fitting, kSmallestGroup);
  const int64_t most = kMostKeptBytes / std::max<int64_t>(kept_bytes, 1) / kTileBlock * kTileBlock;
  return {std::min(padded(queries), std::max(most, kTileBlock)),
          wanted.pool > 0 ? wanted.pool : kNotesPerReport, false};
}

}  // namespace notellm::internal
