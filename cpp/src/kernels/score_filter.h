#pragma once

#include <cstdint>

#include "notellm/kernels/table.h"

/// Scores by products of bf16 tiles (AMX), compared where they are made: a block of scores is
/// counted while it is in the nearest cache, and is never written to memory.
///
/// A vector is split as x = high + low + rest into two bf16 numbers and what is left of it. The
/// product of the high parts is a coarse score. Where that leaves a comparison open, the products
/// high * low and low * high are added to the same tile: a fine score, nearly as good as fp32's.
namespace notellm::kernels {

/// Queries and notes come in blocks of this many, and widths in multiples of it.
inline constexpr int64_t kTileBlock = 32;

/// How far the parts are from a vector: |x - high| <= kHighError |x|, |x - high - low| <=
/// kLowError |x|, in each number.
inline constexpr double kHighError = 1.0 / (1 << 8);
inline constexpr double kLowError = 1.0 / (1 << 16);

/// Whether the processor has tiles of bf16, and the instruction set in use allows them. If not, no
/// function below may be called.
bool has_bf16_tiles();

/// The lowest and highest scores of each query that leave a comparison open: scores below `low` are
/// smaller than what they are compared with, scores above `high` are greater.
struct OpenScores {
  const float* low;   ///< (queries)
  const float* high;  ///< (queries)
};

/// Some queries, and what their scores are compared with.
struct ScoreFilter {
  const Bf16* high;  ///< (queries, width) from `split_queries`
  const Bf16* low;
  int64_t queries;  ///< a multiple of kTileBlock
  int64_t width;    ///< a multiple of kTileBlock
  OpenScores coarse;
  OpenScores fine;
  int32_t* greater;  ///< (queries) increased by the scores above `high`
  /// Called for every fine score that leaves its comparison open, or is not a number. It may move
  /// the bounds of this query.
  void (*open)(void* context, int64_t query, int64_t note, float score);
  void* context;
};

/// Splits `rows` (n, d) into (n, width) each; numbers beyond d become 0.
void split_notes(const float* rows, int64_t n, int64_t d, int64_t width, Bf16* high, Bf16* low);

/// The same for a block of kTileBlock queries, of which n are given and the others become 0, in the
/// order in which tiles take their second factor: (2, width / 2, 16, 2).
void split_queries(const float* rows, int64_t n, int64_t d, int64_t width, Bf16* high, Bf16* low);

/// Compares the scores of all queries with `notes` notes: (notes rounded up to kTileBlock, width)
/// from `split_notes`. They should fit the nearest cache.
void filter_scores(const ScoreFilter& filter, const Bf16* high, const Bf16* low, int64_t notes);

}  // namespace notellm::kernels
