#include "notellm/metrics/ranking.h"

#include <algorithm>
#include <cmath>

#include "notellm/util/check.h"

namespace notellm {
namespace {

void check_counts(const char* where,
                  std::span<const int64_t> greater,
                  std::span<const int64_t> equal) {
  const internal::Require require(where);
  require(greater.size() == equal.size(), "greater and equal must have the same length, but have ",
          greater.size(), " and ", equal.size());
  for (size_t query = 0; query < greater.size(); ++query) {
    require(greater[query] >= 0 && equal[query] >= 0,
            "counts must be at least 0, but those of query ", query, " are ", greater[query],
            " and ", equal[query]);
  }
}

double hit(int64_t greater, int64_t equal, int64_t k, Ties ties) {
  switch (ties) {
    case Ties::kOptimistic:
      return greater < k;
    case Ties::kPessimistic:
      return greater + equal < k;
    case Ties::kMean:
      break;
  }
  // The target is equally likely at each of equal + 1 places, of which k - greater are hits.
  const int64_t places = equal + 1;
  const int64_t hits = std::clamp<int64_t>(k - greater, 0, places);
  return static_cast<double>(hits) / static_cast<double>(places);
}

// What psi(x + 1/2), the digamma function, has beyond log x: the first terms of its asymptotic
// series. From x = 31.5 on, the next term is below a rounding of the differences taken here.
double beyond_logarithm(double x) {
  const double s = 1 / (x * x);
  return s * (1.0 / 24 - s * (7.0 / 960 - s * (31.0 / 8064 - s * (127.0 / 30720))));
}

// The sum of 1 / rank over [first, last], which takes no longer for many ranks than for some tens:
// it is psi(last + 1) - psi(first). The two logarithms are subtracted before they are rounded.
double sum_of_reciprocals(int64_t first, int64_t last) {
  constexpr int64_t kFewRanks = 64, kFirstOfSeries = 32;
  double sum = 0, rest = 0;
  if (last - first >= kFewRanks) {
    const int64_t begin = std::max(first, kFirstOfSeries);
    const double below = static_cast<double>(begin) - 0.5, above = static_cast<double>(last) + 0.5;
    rest = std::log1p(static_cast<double>(last - begin + 1) / below) +
           (beyond_logarithm(above) - beyond_logarithm(below));
    last = begin - 1;
  }
  for (int64_t rank = last; rank >= first; --rank) sum += 1.0 / static_cast<double>(rank);
  return sum + rest;
}

double reciprocal_rank(int64_t greater, int64_t equal, Ties ties) {
  const int64_t first = ties == Ties::kPessimistic ? greater + equal + 1 : greater + 1;
  const int64_t last = ties == Ties::kOptimistic ? first : greater + equal + 1;
  return sum_of_reciprocals(first, last) / static_cast<double>(last - first + 1);
}

// The mean gain over the target's possible ranks, of which those beyond k gain nothing.
double gain(int64_t greater, int64_t equal, int64_t k, Ties ties) {
  const int64_t first = ties == Ties::kPessimistic ? greater + equal + 1 : greater + 1;
  const int64_t last = ties == Ties::kOptimistic ? first : greater + equal + 1;
  double sum = 0;
  for (int64_t rank = std::min(last, k); rank >= first; --rank) {
    sum += 1.0 / std::log2(static_cast<double>(rank) + 1);
  }
  return sum / static_cast<double>(last - first + 1);
}

// (Q, K): `value(greater, equal, k)` of each query and cut-off.
template <typename Value>
std::vector<double> at_each(const char* where,
                            std::span<const int64_t> greater,
                            std::span<const int64_t> equal,
                            std::span<const int64_t> ks,
                            const Value& value) {
  check_counts(where, greater, equal);
  for (const int64_t k : ks) {
    internal::require(k >= 1, where, "ks must be at least 1, but one is ", k);
  }
  std::vector<double> values;
  values.reserve(greater.size() * ks.size());
  for (size_t query = 0; query < greater.size(); ++query) {
    for (const int64_t k : ks) values.push_back(value(greater[query], equal[query], k));
  }
  return values;
}

}  // namespace

std::vector<double> hits_at(std::span<const int64_t> greater,
                            std::span<const int64_t> equal,
                            std::span<const int64_t> ks,
                            Ties ties) {
  return at_each("hits_at", greater, equal, ks, [ties](int64_t above, int64_t beside, int64_t k) {
    return hit(above, beside, k, ties);
  });
}

std::vector<double> gains_at(std::span<const int64_t> greater,
                             std::span<const int64_t> equal,
                             std::span<const int64_t> ks,
                             Ties ties) {
  return at_each("gains_at", greater, equal, ks, [ties](int64_t above, int64_t beside, int64_t k) {
    return gain(above, beside, k, ties);
  });
}

std::vector<double> reciprocal_ranks(std::span<const int64_t> greater,
                                     std::span<const int64_t> equal,
                                     Ties ties) {
  check_counts("reciprocal_ranks", greater, equal);
  std::vector<double> values;
  values.reserve(greater.size());
  for (size_t query = 0; query < greater.size(); ++query) {
    values.push_back(reciprocal_rank(greater[query], equal[query], ties));
  }
  return values;
}

}  // namespace notellm
