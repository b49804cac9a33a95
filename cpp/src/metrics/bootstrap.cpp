#include "notellm/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "notellm/util/check.h"
#include "notellm/util/parallel.h"
#include "notellm/util/random.h"

namespace notellm {
namespace {

constexpr uint64_t kStream = 0x626F6F7473747261;  // "bootstra": apart from other uses of a seed
constexpr int64_t kSamplesAtATime = 64;

double resampled_mean(std::span<const double> values, uint64_t seed, int64_t sample) {
  const auto count = static_cast<uint64_t>(values.size());
  double sum = 0;
  for (uint64_t i = 0; i < count; ++i) {
    sum +=
        values[random_below(random_word(seed, kStream, static_cast<uint64_t>(sample), i), count)];
  }
  return sum / static_cast<double>(count);
}

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

}  // namespace

Interval bootstrap_mean(std::span<const double> values,
                        const BootstrapOptions& options,
                        const ProgressFn& progress) {
  NOTELLM_CHECK_ARG(!values.empty(), "values must not be empty, but are");
  for (size_t i = 0; i < values.size(); ++i) {
    NOTELLM_CHECK_ARG(std::isfinite(values[i]), "values must be finite, but value ", i, " is ",
                      values[i]);
  }
  NOTELLM_CHECK_ARG(options.samples >= 1, "samples must be at least 1, but is ", options.samples);
  NOTELLM_CHECK_ARG(options.level > 0 && options.level < 1,
                    "level must be between 0 and 1, but is ", options.level);

  std::vector<double> means(options.samples);
  const auto resample = [&](int64_t task) {
    const int64_t begin = task * kSamplesAtATime;
    const int64_t end = std::min(options.samples, begin + kSamplesAtATime);
    for (int64_t sample = begin; sample < end; ++sample) {
      means[sample] = resampled_mean(values, options.seed, sample);
    }
  };
  const int64_t tasks = (options.samples + kSamplesAtATime - 1) / kSamplesAtATime;
  report_progress(progress, 0, tasks);
  run_tasks(tasks, options.threads, resample, progress);
  std::sort(means.begin(), means.end());
  const double mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  const double tail = (1 - options.level) / 2;
  return {mean, quantile(means, tail), quantile(means, 1 - tail)};
}

Interval bootstrap_difference(std::span<const double> a,
                              std::span<const double> b,
                              const BootstrapOptions& options,
                              const ProgressFn& progress) {
  NOTELLM_CHECK_ARG(a.size() == b.size(), "a and b must have the same length, but have ", a.size(),
                    " and ", b.size());
  std::vector<double> differences(a.size());
  for (size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  return bootstrap_mean(differences, options, progress);
}

}  // namespace notellm
