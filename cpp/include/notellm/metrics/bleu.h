#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "notellm/metrics/bootstrap.h"
#include "notellm/util/progress.h"

namespace notellm {

constexpr int kBleuOrder = 4;

/// What BLEU is computed from: n-grams of a prediction, and how many of them the reference has,
/// each counted at most as often as there. Those of several texts add up to a corpus's.
struct BleuCounts {
  std::array<int64_t, kBleuOrder> matches{};  ///< by n - 1
  std::array<int64_t, kBleuOrder> totals{};
  int64_t prediction = 0, reference = 0;  ///< tokens

  BleuCounts& operator+=(const BleuCounts& other);
};

/// With several references an n-gram counts as often as the one has it that has it most, and the
/// length is that of the reference nearest in length, of two the shorter.
///
/// Cost O(n log n). Tokens are words; only their equality matters.
/// @throws std::invalid_argument  if there is no reference.
BleuCounts bleu_counts(std::span<const std::string> prediction,
                       std::span<const std::vector<std::string>> references);

/// What stands for an n-gram precision of 0 (Chen and Cherry, 2014).
enum class BleuSmoothing {
  kNone,    ///< 0: BLEU is 0
  kFloor,   ///< 0.1 matches
  kAddOne,  ///< one match and one n-gram more, for every n > 1
  kExp,     ///< half as many matches for each further n without any: 1/2, 1/4, ...
};

/// BLEU (Papineni et al., 2002) in [0, 1]: the geometric mean of the n-gram precisions for n = 1
/// ... `order`, times exp(1 - reference / prediction) where the prediction is shorter.
///
/// An n without any n-gram (a smoothed one included), and all above it, are left out, so that two
/// words can be perfect. 0 without a matching token.
///
/// @throws std::invalid_argument  if the order is not in [1, 4].
double bleu(const BleuCounts& counts, int order, BleuSmoothing smoothing);

/// BLEU of a corpus with its bootstrap interval over texts.
///
/// @param counts  by text, at least one.
/// @throws std::invalid_argument  as `bleu` and `bootstrap`.
Interval bootstrap_bleu(std::span<const BleuCounts> counts,
                        int order,
                        BleuSmoothing smoothing,
                        const BootstrapOptions& options = {},
                        const ProgressFn& progress = {});

}  // namespace notellm
