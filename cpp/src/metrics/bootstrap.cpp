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

constexpr uint64_t kStream = 0x626F6F7473747261;  // "bootstra": unlike other uses of a seed
constexpr int64_t kSamplesAtATime = 64;

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

}  // namespace

Interval bootstrap(double value,
                   int64_t n,
                   const std::function<double(std::span<const int64_t> drawn)>& statistic,
                   const BootstrapOptions& options,
                   const ProgressFn& progress,
                   std::string_view where) {
  const internal::Require require(where);
  require(n >= 1, "values must not be empty, but are");
  require(options.samples >= 1, "samples must be at least 1, but is ", options.samples);
  require(options.level > 0 && options.level < 1, "level must be between 0 and 1, but is ",
          options.level);
  std::vector<double> found(options.samples);
  const auto resample = [&](int64_t task) {
    const int64_t begin = task * kSamplesAtATime;
    const int64_t end = std::min(options.samples, begin + kSamplesAtATime);
    std::vector<int64_t> drawn(n);
    for (int64_t sample = begin; sample < end; ++sample) {
      for (int64_t i = 0; i < n; ++i) {
        drawn[i] =
            static_cast<int64_t>(random_below(random_word(options.seed, kStream, sample, i), n));
      }
      found[sample] = statistic(drawn);
    }
  };
  const int64_t tasks = (options.samples + kSamplesAtATime - 1) / kSamplesAtATime;
  report_progress(progress, 0, tasks);
  run_tasks(tasks, options.threads, resample, progress);
  std::sort(found.begin(), found.end());
  const double tail = (1 - options.level) / 2;
  return {value, quantile(found, tail), quantile(found, 1 - tail)};
}

namespace {

Interval interval_of_mean(std::span<const double> values,
                          const BootstrapOptions& options,
                          const ProgressFn& progress,
                          std::string_view where) {
  for (size_t i = 0; i < values.size(); ++i) {
    internal::require(std::isfinite(values[i]), where, "values must be finite, but value ", i,
                      " is ", values[i]);
  }
  const auto count = static_cast<double>(values.size());
  const auto mean_of = [&](std::span<const int64_t> drawn) {
    double sum = 0;
    for (const int64_t i : drawn) sum += values[i];
    return sum / count;
  };
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return bootstrap(values.empty() ? 0 : sum / count, std::ssize(values), mean_of, options, progress,
                   where);
}

}  // namespace

Interval bootstrap_mean(std::span<const double> values,
                        const BootstrapOptions& options,
                        const ProgressFn& progress) {
  return interval_of_mean(values, options, progress, "bootstrap_mean");
}

Interval bootstrap_difference(std::span<const double> a,
                              std::span<const double> b,
                              const BootstrapOptions& options,
                              const ProgressFn& progress) {
  constexpr const char* where = "bootstrap_difference";
  internal::require(a.size() == b.size(), where, "a and b must have the same length, but have ",
                    a.size(), " and ", b.size());
  std::vector<double> differences(a.size());
  for (size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  return interval_of_mean(differences, options, progress, where);
}

}  // namespace notellm
