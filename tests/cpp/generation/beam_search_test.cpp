#include "notellm/generation/beam_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace notellm {
namespace {

using Ids = std::vector<int32_t>;
using Continuations = std::vector<BeamSearch::Continuation>;

constexpr int32_t kStop = 0;

TEST(BeamSearch, OneBeamTakesWhatIsOfferedUntilItStops) {
  const DecodingOptions options{.max_new_tokens = 3, .stop_tokens = {kStop}};
  BeamSearch search(options);
  EXPECT_EQ(BeamSearch::candidates(options), 1);
  EXPECT_EQ(search.advance({{0, 7, -9}}), std::vector<int64_t>{0});
  EXPECT_EQ(search.advance({{0, 5, 0}}), std::vector<int64_t>{0});
  EXPECT_EQ(search.running()[0].tokens, (Ids{7, 5}));
  EXPECT_FALSE(search.is_done());
  search.advance({{0, kStop, 0}});
  EXPECT_TRUE(search.is_done());
  EXPECT_EQ(search.best(), (Ids{7, 5}));
}

TEST(BeamSearch, IsCutWhereItIsFull) {
  const DecodingOptions options{.max_new_tokens = 2, .stop_tokens = {kStop}};
  BeamSearch search(options);
  search.advance({{0, 7, 0}});
  search.advance({{0, 5, 0}});
  EXPECT_TRUE(search.is_done());
  EXPECT_EQ(search.best(), (Ids{7, 5}));
}

TEST(BeamSearch, EndsEmptyWhereNothingIsOffered) {
  for (const int64_t beams : {1, 3}) {
    const DecodingOptions options{.beams = beams, .stop_tokens = {kStop}};
    BeamSearch search(options);
    search.advance({});
    EXPECT_TRUE(search.is_done());
    EXPECT_TRUE(search.best().empty());
  }
}

// Next-token log-probabilities of a made-up model, by the output so far.
double log_p(const Ids& output, int32_t token) {
  uint64_t hash = 1469598103934665603u;
  for (const int32_t id : output) hash = (hash ^ (id + 1)) * 1099511628211u;
  double total = 0, own = 0;
  for (int32_t t = 0; t < 4; ++t) {
    const double weight = std::exp(static_cast<double>((hash >> (9 * t)) % 512) / 200);
    total += weight;
    if (t == token) own = weight;
  }
  return std::log(own / total);
}

struct Best {
  Ids tokens;
  double score = -1e9;
};

// All outputs of at most 3 tokens, by recursion.
void exhaust(Ids output, double score, double length_penalty, Best& best) {
  for (int32_t token = 0; token < 4; ++token) {
    const double whole = score + log_p(output, token);
    Ids longer = output;
    if (token != kStop) longer.push_back(token);
    const bool ends = token == kStop || longer.size() == 3;
    const double scaled = whole / std::pow(output.size() + 1, length_penalty);
    if (ends && scaled > best.score) best = {longer, scaled};
    if (!ends) exhaust(longer, whole, length_penalty, best);
  }
}

TEST(BeamSearch, AWideBeamFindsTheBestOfAllOutputs) {
  for (const double length_penalty : {0.0, 1.0}) {
    const DecodingOptions options{
        .max_new_tokens = 3, .beams = 64, .length_penalty = length_penalty, .stop_tokens = {kStop}};
    BeamSearch search(options);
    while (!search.is_done()) {
      Continuations offered;
      for (size_t b = 0; b < search.running().size(); ++b) {
        const auto& [tokens, score] = search.running()[b];
        for (int32_t token = 0; token < 4; ++token) {
          offered.push_back({static_cast<int64_t>(b), token, score + log_p(tokens, token)});
        }
      }
      search.advance(offered);
    }
    Best best;
    exhaust({}, 0, length_penalty, best);
    EXPECT_EQ(search.best(), best.tokens);
  }
}

TEST(BeamSearch, StopsWhenNoRunningOneCanBeatTheFinished) {
  const DecodingOptions options{.max_new_tokens = 9, .beams = 2, .stop_tokens = {kStop}};
  BeamSearch search(options);
  EXPECT_EQ(BeamSearch::candidates(options), 4);
  // the stop among the first two is finished with -1 / 1; a third-best one would not be
  EXPECT_EQ(search.advance({{0, 1, -2}, {0, kStop, -1}, {0, 2, -3}, {0, 3, -4}}),
            (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(search.running()[1].tokens, Ids{2});
  // from the second: -4 / 2 and -5 / 2 are worse than -2 / 2 / ... of the new finished one
  search.advance({{0, kStop, -2.2}, {1, 3, -8}, {1, 1, -9}, {0, 2, -10}});
  EXPECT_TRUE(search.is_done());
  EXPECT_EQ(search.best(), Ids{});  // -1 beats -1.1
}

}  // namespace
}  // namespace notellm
