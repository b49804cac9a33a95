#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "notellm/util/progress.h"

namespace notellm {

/// A statistic with its bootstrap interval.
struct Interval {
  double value = 0;  ///< the statistic of the original sample
  double low = 0;
  double high = 0;
};

struct BootstrapOptions {
  int64_t samples = 1000;  ///< resamples; >= 1
  uint64_t seed = 0;
  double level = 0.95;  ///< share of the resampled statistics inside the interval; in (0, 1)
  int threads = 0;      ///< 0 = `num_threads()`; the result does not depend on it
};

/// Percentile bootstrap (Efron) of a statistic of n independent items.
///
/// Resample s draws its i-th item by random_word(seed, stream, s, i). The ends are quantiles of
/// the resampled statistics, interpolated linearly between neighbours.
///
/// @param value      the statistic of the n items themselves.
/// @param statistic  computes it for n drawn items, given their indices; must be thread-safe.
/// @param progress   called with (blocks of resamples done, blocks).
/// @param where      begins the messages: what the user called.
/// @throws std::invalid_argument  if n is 0 or an option is out of range.
/// Cost: O(samples n). Deterministic for any number of threads.
Interval bootstrap(double value,
                   int64_t n,
                   const std::function<double(std::span<const int64_t> drawn)>& statistic,
                   const BootstrapOptions& options = {},
                   const ProgressFn& progress = {},
                   std::string_view where = "bootstrap");

/// `bootstrap` of the mean of n independent values, summed in the order in which they are drawn.
///
/// @param values    (n) finite, n >= 1.
/// @throws std::invalid_argument  also if a value is not finite.
Interval bootstrap_mean(std::span<const double> values,
                        const BootstrapOptions& options = {},
                        const ProgressFn& progress = {});

/// The same for the mean of a - b where both were measured on the same n items: resampling draws
/// items with both values, so variation common to a and b cancels (a paired bootstrap).
/// @throws std::invalid_argument  also if lengths differ.
Interval bootstrap_difference(std::span<const double> a,
                              std::span<const double> b,
                              const BootstrapOptions& options = {},
                              const ProgressFn& progress = {});

}  // namespace notellm
