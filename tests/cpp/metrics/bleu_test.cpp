#include "notellm/metrics/bleu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "notellm/util/check.h"

namespace notellm {
namespace {

using Words = std::vector<std::string>;

// With one reference.
BleuCounts counts_of(const Words& prediction, const Words& reference) {
  return bleu_counts(prediction, std::span(&reference, 1));
}

TEST(Bleu, CountsAnNGramAtMostAsOftenAsTheReferenceHasIt) {
  const BleuCounts counts = counts_of(Words{"a", "b", "a", "b", "a"}, Words{"a", "b", "a", "c"});
  EXPECT_EQ(counts.matches, (std::array<int64_t, 4>{3, 2, 1, 0}));
  EXPECT_EQ(counts.totals, (std::array<int64_t, 4>{5, 4, 3, 2}));
  EXPECT_EQ(counts.prediction, 5);
  EXPECT_EQ(counts.reference, 4);
}

TEST(Bleu, IsTheGeometricMeanOfThePrecisions) {
  const BleuCounts counts = counts_of(Words{"a", "b", "a", "b", "a"}, Words{"a", "b", "a", "c"});
  EXPECT_NEAR(bleu(counts, 2, BleuSmoothing::kNone), std::sqrt(3.0 / 5 * 2 / 4), 1e-15);
  EXPECT_EQ(bleu(counts, 4, BleuSmoothing::kNone), 0);
  EXPECT_NEAR(bleu(counts, 4, BleuSmoothing::kExp),
              std::pow(3.0 / 5 * 2 / 4 * 1 / 3 * 0.5 / 2, 0.25), 1e-15);
}

TEST(Bleu, PunishesShortness) {
  const BleuCounts counts = counts_of(Words{"a", "b"}, Words{"a", "b", "c", "d", "e"});
  EXPECT_NEAR(bleu(counts, 2, BleuSmoothing::kNone), std::exp(1 - 5.0 / 2), 1e-15);
}

TEST(Bleu, OfACorpusIsThatOfTheSums) {
  BleuCounts sum = counts_of(Words{"a"}, Words{"a"});
  sum += counts_of(Words{"b", "c"}, Words{"d", "c"});
  EXPECT_NEAR(bleu(sum, 1, BleuSmoothing::kNone), 2.0 / 3, 1e-15);
}

TEST(Bleu, TakesEachNGramFromTheReferenceThatHasItMost) {
  const std::vector<Words> references{{"a", "b", "c"}, {"b", "b"}, {"a", "b", "c", "d", "e"}};
  const BleuCounts counts = bleu_counts(Words{"b", "b", "c", "d"}, references);
  EXPECT_EQ(counts.matches, (std::array<int64_t, 4>{4, 3, 1, 0}));
  EXPECT_EQ(counts.reference, 3);  // as near as 5, and shorter
  EXPECT_THROW(bleu_counts(Words{"a"}, {}), std::invalid_argument);
}

TEST(Bleu, IntervalIsThatOfTheResampledCorpora) {
  std::vector<BleuCounts> counts;
  for (int i = 0; i < 20; ++i) {
    counts.push_back(counts_of(Words{"a", i % 3 ? "b" : "c"}, Words{"a", "b"}));
  }
  const Interval interval = bootstrap_bleu(counts, 1, BleuSmoothing::kNone, {.seed = 3});
  std::vector<double> precisions;
  for (const BleuCounts& own : counts) precisions.push_back(own.matches[0] / 2.0);
  const Interval expected = bootstrap_mean(precisions, {.seed = 3});  // lengths are equal
  EXPECT_NEAR(interval.value, expected.value, 1e-12);
  EXPECT_NEAR(interval.low, expected.low, 1e-12);
  EXPECT_NEAR(interval.high, expected.high, 1e-12);
  EXPECT_THROW(bootstrap_bleu({}, 1, BleuSmoothing::kNone), std::invalid_argument);
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(bootstrap_bleu(counts, 1, BleuSmoothing::kNone, {}, stop), Interrupted);
}

TEST(Bleu, AWordCanBePerfectAndNothingIsNot) {
  EXPECT_EQ(bleu(counts_of(Words{"a"}, Words{"a"}), 4, BleuSmoothing::kNone), 1);
  EXPECT_EQ(bleu(counts_of(Words{}, Words{"a"}), 4, BleuSmoothing::kExp), 0);
  EXPECT_EQ(bleu({}, 4, BleuSmoothing::kExp), 0);
  EXPECT_THROW(bleu({}, 5, BleuSmoothing::kNone), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
