#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "notellm/util/progress.h"

namespace notellm {

/// How much two texts share; all in [0, 1], and 0 where a text has no tokens.
struct Overlap {
  double precision = 0;  ///< shared tokens / tokens of the prediction
  double recall = 0;     ///< shared tokens / tokens of the reference
  double f1 = 0;         ///< their harmonic mean
};

/// ROUGE-1 (Lin, 2004): shared tokens, each counted as often as it occurs in both texts.
/// Cost O(n log n). Tokens are words; only their equality matters.
Overlap rouge_1(std::span<const std::string> prediction, std::span<const std::string> reference);

/// ROUGE-2 (Lin, 2004): shared pairs of neighbouring tokens, counted in the same way.
Overlap rouge_2(std::span<const std::string> prediction, std::span<const std::string> reference);

/// ROUGE-L (Lin, 2004): the longest common subsequence of tokens.
/// `progress` is called with (tokens of the prediction done, n).
/// Cost O(n m) time, O(n + m) memory.
Overlap rouge_l(std::span<const std::string> prediction,
                std::span<const std::string> reference,
                const ProgressFn& progress = {});

}  // namespace notellm
