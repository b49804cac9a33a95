#pragma once

#include <cstdint>
#include <span>

#include "notellm/util/progress.h"

namespace notellm {

/// A mean with its bootstrap interval.
struct Interval {
  double value = 0;  ///< of the values themselves
  double low = 0;
  double high = 0;
};

struct BootstrapOptions {
  int64_t samples = 2000;  ///< resamples; >= 1
  uint64_t seed = 0;
  double level = 0.95;  ///< share of resampled means inside the interval; in (0, 1)
  int threads = 0;      ///< 0 = `num_threads()`; the result does not depend on it
};

/// Percentile bootstrap (Efron) of the mean of n independent values.
///
/// Resample s draws value i from random_word(seed, stream, s, i); its mean is summed in that order.
/// The ends are quantiles of the means, interpolated linearly between neighbours.
///
/// @param values    (n) finite, n >= 1.
/// @param progress  told (blocks of resamples done, blocks).
/// @throws std::invalid_argument  if there is no value, one is not finite, or an option is out of
///                                range.
/// Cost: O(samples n). Deterministic for any number of threads.
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
