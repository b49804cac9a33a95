#include "notellm/generation/next_token.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

namespace notellm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The definition, token by token.
DecodingOptions drawn(double temperature, int64_t top_k, double top_p) {
  return {.temperature = temperature, .top_k = top_k, .top_p = top_p};
}

std::vector<double> naive_probabilities(const std::vector<double>& logits,
                                        const DecodingOptions& o) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (o.top_k > 0) order.resize(std::min<size_t>(o.top_k, order.size()));
  const auto weight = [&](size_t i) {
    return std::exp((logits[i] - logits[order[0]]) / o.temperature);
  };
  double total = 0;
  for (const size_t i : order) total += weight(i);
  std::vector<double> kept(logits.size(), 0);
  double sum = 0, kept_sum = 0;
  for (const size_t i : order) {
    if (sum >= o.top_p) break;
    sum += weight(i) / total;
    kept_sum += kept[i] = weight(i) / total;
  }
  for (double& one : kept) one /= kept_sum;
  return kept;
}

TEST(DrawTokens, EvenlySpacedNumbersDrawEachTokenByItsShare) {
  constexpr int64_t kDraws = 4000;
  std::vector<double> uniforms(kDraws);
  for (int64_t i = 0; i < kDraws; ++i) uniforms[i] = (i + 0.5) / kDraws;
  at::manual_seed(0);
  for (const int64_t vocabulary : {5, 700}) {
    const at::Tensor logits = at::randn({vocabulary}, at::kDouble) * 2;
    const double* first = logits.const_data_ptr<double>();
    const std::vector<double> own(first, first + vocabulary);
    for (const DecodingOptions& options :
         {drawn(1, 0, 1), drawn(0.5, 0, 1), drawn(2, 3, 1), drawn(1, 0, 0.6), drawn(3, 400, 0.97),
          drawn(1, 4, 0.5), drawn(1, 0, 1e-9), drawn(1, 1, 1)}) {
      const std::vector<double> expected = naive_probabilities(own, options);
      const at::Tensor drawn = draw_tokens(logits.expand({kDraws, vocabulary}), uniforms, options);
      const at::Tensor counts = drawn.bincount({}, vocabulary);
      for (int64_t t = 0; t < vocabulary; ++t) {
        EXPECT_NEAR(counts[t].item<double>(), expected[t] * kDraws, 1.01) << vocabulary << " " << t;
      }
    }
  }
}

TEST(DrawTokens, NeverDrawsWhatIsNotAllowed) {
  const at::Tensor logits = at::tensor({-kInfinity, 1.0, -kInfinity, 0.5, -kInfinity}).unsqueeze(0);
  for (const double uniform : {0.0, 0.3, 0.999999999999}) {
    for (const DecodingOptions& options : {drawn(1, 0, 1), drawn(1, 4, 1), drawn(1, 0, 0.99)}) {
      const int64_t token = draw_tokens(logits, std::vector{uniform}, options).item<int64_t>();
      EXPECT_TRUE(token == 1 || token == 3) << token;
    }
  }
}

TEST(UniformOf, DependsOnSeedPromptAndPlaceAlone) {
  const std::vector<int32_t> prompt{1, 2, 3}, other{1, 2, 4};
  EXPECT_EQ(uniform_of(5, prompt, 0), uniform_of(5, std::vector<int32_t>(prompt), 0));
  std::set<double> distinct;
  double sum = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    for (int64_t place = 0; place < 50; ++place) {
      for (const auto& one : {prompt, other}) {
        const double u = uniform_of(seed, one, place);
        EXPECT_TRUE(u >= 0 && u < 1);
        distinct.insert(u);
        sum += u;
      }
    }
  }
  EXPECT_EQ(distinct.size(), 5000);
  EXPECT_NEAR(sum / 5000, 0.5, 0.02);  // five standard errors
}

TEST(PenaliseRepetition, MakesSeenTokensLessProbable) {
  at::Tensor logits = at::tensor({2.0, -2.0, 1.0, 4.0, -1.0, 3.0}).view({2, 3});
  const std::vector<std::vector<int32_t>> seen{{0, 1}, {2}};
  penalise_repetition(logits, seen, 2);
  EXPECT_TRUE(logits.equal(at::tensor({1.0, -4.0, 1.0, 4.0, -1.0, 1.5}).view({2, 3})));
  penalise_repetition(logits, seen, 1);
  EXPECT_TRUE(logits.equal(at::tensor({1.0, -4.0, 1.0, 4.0, -1.0, 1.5}).view({2, 3})));
}

TEST(KeepAllowed, LeavesTheOthersAtMinusInfinity) {
  const at::Tensor logits = at::arange(6, at::kDouble).view({2, 3});
  const std::vector<std::vector<int32_t>> allowed{{0, 2}, {1}};
  const at::Tensor expected =
      at::tensor({0.0, -kInfinity, 2.0, -kInfinity, 4.0, -kInfinity}).view({2, 3});
  EXPECT_TRUE(keep_allowed(logits, allowed).equal(expected));
}

}  // namespace
}  // namespace notellm
