#include "notellm/kernels/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "notellm/kernels/instruction_set.h"

// Comparisons of scores in vectors, against the comparison of one after the other.
namespace notellm::kernels {
namespace {

class EverySet : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      set_instruction_set(GetParam());
    } catch (const std::invalid_argument&) {
      GTEST_SKIP() << "this processor has no " << GetParam();
    }
  }
  void TearDown() override { set_instruction_set(""); }
};

// Few different numbers, so that many equal a bound; NaN and both infinities among them.
template <typename T>
std::vector<T> few_values(int64_t n, int seed) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const std::vector<T> values{
      -infinity, -2, -1, T(-0.0), 0, 1, 2, infinity, std::numeric_limits<T>::quiet_NaN()};
  std::mt19937 generator(seed);
  std::vector<T> scores(n);
  for (T& score : scores) score = values[generator() % values.size()];
  return scores;
}

template <typename T>
void expect_counts_of_one_by_one() {
  const Table<T>& loops = tables().of<T>();
  for (int64_t n = 0; n < 150; ++n) {
    const std::vector<T> scores = few_values<T>(n, static_cast<int>(n));
    for (const T low : {T(-1), T(0), T(2)}) {
      int64_t greater = 3, smaller = 5;  // what was counted before stays
      loops.count_scores(scores.data(), n, low, low + 1, &greater, &smaller);
      EXPECT_EQ(greater, 3 + std::ranges::count_if(scores, [&](T s) { return s > low + 1; })) << n;
      EXPECT_EQ(smaller, 5 + std::ranges::count_if(scores, [&](T s) { return s < low; })) << n;
    }
  }
}

// One score that is not below the floor, at every place; and none.
template <typename T>
void expect_first_of_one_by_one() {
  const Table<T>& loops = tables().of<T>();
  constexpr T nan = std::numeric_limits<T>::quiet_NaN();
  for (int64_t n = 0; n < 150; ++n) {
    std::vector<T> scores(n, T(0.5));
    EXPECT_EQ(loops.first_not_below(scores.data(), n, T(1)), n);
    for (int64_t place = 0; place < n; ++place) {
      for (const T found : {T(1), T(2), nan}) {
        scores[place] = found;
        EXPECT_EQ(loops.first_not_below(scores.data(), n, T(1)), place) << n;
      }
      scores[place] = T(0.5);
    }
  }
}

TEST_P(EverySet, CountsScoresAsOneByOne) {
  expect_counts_of_one_by_one<float>();
  expect_counts_of_one_by_one<double>();
}

TEST_P(EverySet, FindsTheFirstScoreThatIsNotBelow) {
  expect_first_of_one_by_one<float>();
  expect_first_of_one_by_one<double>();
}

INSTANTIATE_TEST_SUITE_P(Scores,
                         EverySet,
                         ::testing::Values("none", "baseline", "avx2", "avx512", "avx512_bf16"));

}  // namespace
}  // namespace notellm::kernels
