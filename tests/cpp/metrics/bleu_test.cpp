#include "notellm/metrics/bleu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

namespace notellm {
namespace {

using Words = std::vector<std::string>;

TEST(Bleu, CountsAnNGramAtMostAsOftenAsTheReferenceHasIt) {
  const BleuCounts counts = bleu_counts(Words{"a", "b", "a", "b", "a"}, Words{"a", "b", "a", "c"});
  EXPECT_EQ(counts.matches, (std::array<int64_t, 4>{3, 2, 1, 0}));
  EXPECT_EQ(counts.totals, (std::array<int64_t, 4>{5, 4, 3, 2}));
  EXPECT_EQ(counts.prediction, 5);
  EXPECT_EQ(counts.reference, 4);
}

TEST(Bleu, IsTheGeometricMeanOfThePrecisions) {
  const BleuCounts counts = bleu_counts(Words{"a", "b", "a", "b", "a"}, Words{"a", "b", "a", "c"});
  EXPECT_NEAR(bleu(counts, 2, BleuSmoothing::kNone), std::sqrt(3.0 / 5 * 2 / 4), 1e-15);
  EXPECT_EQ(bleu(counts, 4, BleuSmoothing::kNone), 0);
  EXPECT_NEAR(bleu(counts, 4, BleuSmoothing::kExp),
              std::pow(3.0 / 5 * 2 / 4 * 1 / 3 * 0.5 / 2, 0.25), 1e-15);
}

TEST(Bleu, PunishesShortness) {
  const BleuCounts counts = bleu_counts(Words{"a", "b"}, Words{"a", "b", "c", "d", "e"});
  EXPECT_NEAR(bleu(counts, 2, BleuSmoothing::kNone), std::exp(1 - 5.0 / 2), 1e-15);
}

TEST(Bleu, OfACorpusIsThatOfTheSums) {
  BleuCounts sum = bleu_counts(Words{"a"}, Words{"a"});
  sum += bleu_counts(Words{"b", "c"}, Words{"d", "c"});
  EXPECT_NEAR(bleu(sum, 1, BleuSmoothing::kNone), 2.0 / 3, 1e-15);
}

TEST(Bleu, AWordCanBePerfectAndNothingIsNot) {
  EXPECT_EQ(bleu(bleu_counts(Words{"a"}, Words{"a"}), 4, BleuSmoothing::kNone), 1);
  EXPECT_EQ(bleu(bleu_counts(Words{}, Words{"a"}), 4, BleuSmoothing::kExp), 0);
  EXPECT_EQ(bleu({}, 4, BleuSmoothing::kExp), 0);
  EXPECT_THROW(bleu({}, 5, BleuSmoothing::kNone), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
