#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "notellm/metrics/bootstrap.h"

namespace notellm {

constexpr int kBleuOrder = 4;

/// What BLEU is computed from: the number of a prediction's n-grams, and how many of them match the
/// reference (each at most as often as it occurs there: clipped counts). The counts of several
/// texts add up to those of the corpus.
struct BleuCounts {
  std::array<int64_t, kBleuOrder> matches{};  ///< by n - 1
  std::array<int64_t, kBleuOrder> totals{};
  int64_t prediction = 0, reference = 0;  ///< tokens

  BleuCounts& operator+=(const BleuCounts& other);
};

/// With several references an n-gram is clipped at its largest count in any one of them, and
/// `reference` is the length nearest to the prediction's (the shorter one if two are equally near).
///
/// Cost O(n log n). Tokens are words; only their equality matters.
/// @throws std::invalid_argument  if there is no reference.
BleuCounts bleu_counts(std::span<const std::string> prediction,
                       std::span<const std::vector<std::string>> references);

/// How an n-gram precision of 0 is smoothed (Chen and Cherry, 2014).
enum class BleuSmoothing {
  kNone,    ///< 0: BLEU is 0
  kFloor,   ///< 0.1 matches instead of 0
  kAddOne,  ///< one match and one n-gram more, for every n > 1
  kExp,     ///< 1/2, 1/4, ... matches: halved for each further n that has none
};

/// BLEU (Papineni et al., 2002) in [0, 1]: the geometric mean of the n-gram precisions for n = 1
/// ... `order`, times exp(1 - reference / prediction) if the prediction is shorter.
///
/// An n for which the prediction has no n-gram (a smoothed one included) is left out, and so is
/// every larger n, so that a prediction of two words can be perfect. 0 if no token matches.
///
/// @throws std::invalid_argument  if the order is not in [1, 4].
double bleu(const BleuCounts& counts, int order, BleuSmoothing smoothing);

/// BLEU of a corpus with its bootstrap interval over texts.
///
/// @param counts    one for each text, at least one.
/// @param progress  as in `bootstrap`.
/// @throws std::invalid_argument  as in `bleu` and `bootstrap`.
Interval bootstrap_bleu(std::span<const BleuCounts> counts,
                        int order,
                        BleuSmoothing smoothing,
                        const BootstrapOptions& options = {},
                        const ProgressFn& progress = {});

}  // namespace notellm
