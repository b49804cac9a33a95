#include "gcl_whole.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "tensors.h"

namespace notellm::internal {
namespace {

// Leaves only negatives in `scores`: those of an anchor with itself, its partner and copies of
// either become -inf. Returns the scores with the partners.
template <typename T>
std::vector<T> take_positives(const at::Tensor& scores, const at::Tensor& note_ids, int64_t begin) {
  constexpr T kLeftOut = -std::numeric_limits<T>::infinity();
  const int64_t anchors = scores.size(0), rows = scores.size(1);
  const int32_t* ids = note_ids.defined() ? note_ids.const_data_ptr<int32_t>() : nullptr;
  T* score = scores.mutable_data_ptr<T>();
  std::vector<T> positives(anchors);
  for (int64_t a = 0; a < anchors; ++a, score += rows) {
    const int64_t anchor = begin + a, partner = anchor ^ 1;
    positives[a] = score[partner];
    for (int64_t j = 0; ids && j < rows; ++j) {
      if (ids[j] == ids[anchor] || ids[j] == ids[partner]) score[j] = kLeftOut;
    }
    score[anchor] = score[partner] = kLeftOut;
  }
  return positives;
}

// Computes the losses and their gradient from exp2(score - maximum), row by row: `powers` become
// softmaxes. Everything is in units of log2.
template <typename T>
double finish(at::Tensor& powers,
              const at::Tensor& maxima,
              const std::vector<T>& positives,
              int64_t begin) {
  const int64_t anchors = powers.size(0), rows = powers.size(1);
  const at::Tensor sums = powers.sum(1), factors = at::empty_like(sums);
  const T *maximum = maxima.const_data_ptr<T>(), *sum = sums.const_data_ptr<T>();
  T* factor = factors.mutable_data_ptr<T>();
  std::vector<T> at_partner(anchors);
  double losses = 0;
  for (int64_t a = 0; a < anchors; ++a) {
    // log of (sum of the negatives / the positive); from 40 on the 1 in log(1 + e^x) is below the
    // precision of fp64
    const double lead = double{maximum[a]} - positives[a];
    const double margin = (lead + std::log2(double{sum[a]})) * std::numbers::ln2;
    const double loss = margin > 40 ? margin : std::log1p(std::exp(margin));
    losses += loss;
    at_partner[a] = static_cast<T>(std::expm1(-loss));
    factor[a] = static_cast<T>(std::exp2(lead - loss * std::numbers::log2e));
  }
  powers.mul_(factors.unsqueeze(1));
  T* power = powers.mutable_data_ptr<T>();
  for (int64_t a = 0; a < anchors; ++a) power[a * rows + ((begin + a) ^ 1)] = at_partner[a];
  return losses;
}

template <typename T>
WholeGcl compute(const at::Tensor& unit, double scale, const GclRows& given) {
  const auto [begin, end] = *given.anchors;
  const at::Tensor anchors = unit.narrow(0, begin, end - begin) * (scale * std::numbers::log2e);
  at::Tensor scores = at::mm(anchors, unit.t());  // (A, R); only few rows, so plain at::mm
  if (given.log_q.defined()) scores.sub_(given.log_q * std::numbers::log2e);
  const std::vector<T> positives = take_positives<T>(scores, given.note_ids, begin);
  // stays finite if all scores of a row are left out
  const at::Tensor maxima = scores.amax(1).clamp_min_(std::numeric_limits<T>::lowest() / 2);
  scores.sub_(maxima.unsqueeze(1)).exp2_();
  const double losses = finish<T>(scores, maxima, positives, begin);
  return {at::full({}, losses, unit.options()), scores};
}

}  // namespace

WholeGcl gcl_whole(const at::Tensor& unit, double scale, const GclRows& given) {
  return unit.scalar_type() == at::kDouble ? compute<double>(unit, scale, given)
                                           : compute<float>(unit, scale, given);
}

at::Tensor weighted_by(const at::Tensor& gradient, const at::Tensor& unit, int64_t begin) {
  const int64_t anchors = gradient.size(0);
  if (anchors == unit.size(0)) return at::mm(gradient + gradient.t(), unit);
  at::Tensor weighted = at::mm(gradient.t(), unit.narrow(0, begin, anchors));
  weighted.narrow(0, begin, anchors).add_(at::mm(gradient, unit));
  return weighted;
}

}  // namespace notellm::internal
