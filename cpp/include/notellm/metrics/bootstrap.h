#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "notellm/util/progress.h"

namespace notellm {

/// A statistic with its bootstrap interval.
struct Interval {
  double value = 0;  ///< of the things themselves
  double low = 0;
  double high = 0;
};

struct BootstrapOptions {
  int64_t samples = 2000;  ///< resamples; >= 1
  uint64_t seed = 0;
  double level = 0.95;  ///< share of resampled ones inside the interval; in (0, 1)
  int threads = 0;      ///< 0 = `num_threads()`; the result does not depend on it
};

/// Percentile bootstrap (Efron) of a statistic of n independent things.
///
/// Resample s draws its i-th thing by random_word(seed, stream, s, i). The ends are quantiles of
/// the resampled statistics, interpolated linearly between neighbours.
///
/// @param value      of the things themselves.
/// @param statistic  of n drawn things, by their numbers; called by several threads at once.
/// @param progress   told (blocks of resamples done, blocks).
/// @throws std::invalid_argument  if n is 0 or an option is out of range.
/// Cost: O(samples n). Deterministic for any number of threads.
Interval bootstrap(double value,
                   int64_t n,
                   const std::function<double(std::span<const int64_t> drawn)>& statistic,
                   const BootstrapOptions& options = {},
                   const ProgressFn& progress = {});

/// `bootstrap` of the mean of n independent values, summed in the order drawn.
///
/// @param values    (n) finite, n >= 1.
/// @throws std::invalid_argument  also if a value is not finite.
Interval bootstrap_mean(std::span<const double> values,
                        const BootstrapOptions& options = {},
                        const ProgressFn& progress = {});

/// The same for the mean of a - b where both were measured on the same n things: resamples take
/// pairs, so what the two share cancels.
/// @throws std::invalid_argument  also if lengths differ.
Interval bootstrap_difference(std::span<const double> a,
                              std::span<const double> b,
                              const BootstrapOptions& options = {},
                              const ProgressFn& progress = {});

}  // namespace notellm
