#include "notellm/metrics/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "notellm/util/check.h"

namespace notellm {
namespace {

using Words = std::span<const std::string>;

struct ByWords {
  bool operator()(Words a, Words b) const { return std::ranges::lexicographical_compare(a, b); }
};

// How often each n-gram occurs.
std::map<Words, int64_t, ByWords> n_grams(Words words, int n) {
  std::map<Words, int64_t, ByWords> counts;
  for (int64_t i = 0; i + n <= std::ssize(words); ++i) ++counts[words.subspan(i, n)];
  return counts;
}

void check_order(const char* where, int order) {
  internal::require(order >= 1 && order <= kBleuOrder, where, "order must be in [1, ", kBleuOrder,
                    "], but is ", order);
}

}  // namespace

BleuCounts& BleuCounts::operator+=(const BleuCounts& other) {
  for (int i = 0; i < kBleuOrder; ++i) {
    matches[i] += other.matches[i];
    totals[i] += other.totals[i];
  }
  prediction += other.prediction;
  reference += other.reference;
  return *this;
}

BleuCounts bleu_counts(Words prediction, std::span<const std::vector<std::string>> references) {
  internal::require(!references.empty(), "bleu_counts",
                    "there must be a reference, but there is none");
  BleuCounts counts;
  counts.prediction = std::ssize(prediction);
  counts.reference = std::ssize(references[0]);
  for (const auto& reference : references) {
    const auto apart = [&](int64_t length) {
      return std::pair(std::abs(length - counts.prediction), length);
    };
    counts.reference = std::min(counts.reference, std::ssize(reference),
                                [&](auto a, auto b) { return apart(a) < apart(b); });
  }
  for (int n = 1; n <= kBleuOrder; ++n) {
    counts.totals[n - 1] = std::max<int64_t>(0, std::ssize(prediction) - n + 1);
    std::map<Words, int64_t, ByWords> known;
    for (const auto& reference : references) {
      for (const auto& [gram, times] : n_grams(reference, n)) {
        known[gram] = std::max(known[gram], times);
      }
    }
    for (const auto& [gram, times] : n_grams(prediction, n)) {
      const auto found = known.find(gram);
      if (found != known.end()) counts.matches[n - 1] += std::min(times, found->second);
    }
  }
  return counts;
}

double bleu(const BleuCounts& counts, int order, BleuSmoothing smoothing) {
  check_order("bleu", order);
  if (std::ranges::all_of(counts.matches, [](int64_t n) { return n == 0; })) return 0;
  double log_sum = 0, halved = 1;
  int used = 0;
  for (; used < order; ++used) {
    const bool adds = smoothing == BleuSmoothing::kAddOne && used > 0;
    auto matches = static_cast<double>(counts.matches[used] + adds);
    const auto total = static_cast<double>(counts.totals[used] + adds);
    if (total == 0) break;
    if (matches == 0 && smoothing == BleuSmoothing::kFloor) matches = 0.1;
    if (matches == 0 && smoothing == BleuSmoothing::kExp) matches = halved /= 2;
    if (matches == 0) return 0;
    log_sum += std::log(matches / total);
  }
  const double shortness =
      static_cast<double>(counts.reference) / static_cast<double>(counts.prediction);
  return std::exp(log_sum / used + std::min(0.0, 1 - shortness));
}

Interval bootstrap_bleu(std::span<const BleuCounts> counts,
                        int order,
                        BleuSmoothing smoothing,
                        const BootstrapOptions& options,
                        const ProgressFn& progress) {
  constexpr const char* where = "bootstrap_bleu";
  check_order(where, order);
  BleuCounts all;
  for (const BleuCounts& own : counts) all += own;
  const auto bleu_of = [&](std::span<const int64_t> drawn) {
    BleuCounts sum;
    for (const int64_t i : drawn) sum += counts[i];
    return bleu(sum, order, smoothing);
  };
  return bootstrap(bleu(all, order, smoothing), std::ssize(counts), bleu_of, options, progress,
                   where);
}

}  // namespace notellm
