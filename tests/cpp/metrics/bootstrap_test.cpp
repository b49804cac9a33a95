#include "notellm/metrics/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "notellm/util/check.h"
#include "notellm/util/random.h"

namespace notellm {
namespace {

std::vector<double> uniform(int64_t count, uint64_t seed) {
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(std::ldexp(static_cast<double>(random_word(seed, 1, 2, i)), -64));
  }
  return values;
}

TEST(BootstrapMean, HasTheWidthOfTheNormalInterval) {
  const auto values = uniform(500, 3);
  const Interval interval = bootstrap_mean(values, {.samples = 5000});
  const double expected = 2 * 1.96 * std::sqrt(1.0 / 12) / std::sqrt(500.0);
  EXPECT_NEAR(interval.high - interval.low, expected, 0.06 * expected);
  EXPECT_NEAR((interval.high + interval.low) / 2, interval.value, 0.1 * expected);
}

TEST(BootstrapMean, IsTheSameForAnyNumberOfThreads) {
  const auto values = uniform(50, 4);
  const Interval one = bootstrap_mean(values, {.samples = 777, .seed = 5, .threads = 1});
  for (const int threads : {2, 7}) {
    const Interval many = bootstrap_mean(values, {.samples = 777, .seed = 5, .threads = threads});
    EXPECT_EQ(one.low, many.low);
    EXPECT_EQ(one.high, many.high);
  }
  EXPECT_NE(one.low, bootstrap_mean(values, {.samples = 777, .seed = 6}).low);
}

TEST(BootstrapDifference, CancelsWhatPairsShare) {
  const auto base = uniform(200, 7);
  auto better = base;
  for (double& value : better) value += 0.25;
  const Interval interval = bootstrap_difference(better, base);
  EXPECT_NEAR(interval.low, 0.25, 1e-12);
  EXPECT_NEAR(interval.high, 0.25, 1e-12);
}

TEST(BootstrapMean, RejectsWhatHasNoMean) {
  const std::vector<double> one = {1}, two = {1, 2};
  const std::vector<double> nan = {std::numeric_limits<double>::quiet_NaN()};
  EXPECT_THROW(bootstrap_mean({}), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(nan), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(one, {.samples = 0}), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(one, {.level = 1}), std::invalid_argument);
  EXPECT_THROW(bootstrap_difference(one, two), std::invalid_argument);
}

TEST(BootstrapMean, StopsWhenProgressSaysSo) {
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(bootstrap_mean(uniform(10, 1), {}, stop), Interrupted);
}

}  // namespace
}  // namespace notellm
