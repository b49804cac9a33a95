#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace notellm {

/// Where a target is placed among the notes with exactly its score.
enum class Ties {
  kMean,         ///< anywhere with equal chance: the expected value over all orders
  kOptimistic,   ///< before them
  kPessimistic,  ///< after them
};

/// Whether each query's target is among the first k, for each cut-off.
///
/// @param greater  (Q) notes that score higher than the target, as `target_ranks` counts them.
/// @param equal    (Q) other notes with the target's score.
/// @param ks       (K) cut-offs, each >= 1.
/// @return         (Q, K) row-major: 0 or 1, or with kMean the chance of a hit; the mean over the
///                 queries is Recall@k.
/// @throws std::invalid_argument  if lengths differ, a count is negative or a cut-off is below 1.
std::vector<double> hits_at(std::span<const int64_t> greater,
                            std::span<const int64_t> equal,
                            std::span<const int64_t> ks,
                            Ties ties = Ties::kMean);

/// The discounted gain of each query's target, 1 / log2(rank + 1) if its rank is at most k, else 0
/// (Jarvelin and Kekalainen, 2002). With one target for each query, NDCG@k is their mean.
///
/// @return (Q, K) row-major, with kMean the expected values; errors as in `hits_at`. Cost O(Q K),
///         with kMean the sum of 1 + min(`equal`, k) over queries and cut-offs.
std::vector<double> gains_at(std::span<const int64_t> greater,
                             std::span<const int64_t> equal,
                             std::span<const int64_t> ks,
                             Ties ties = Ties::kMean);

/// 1 / rank of each query's target (ranks start at 1); with kMean the expected value. Their mean is
/// MRR.
///
/// @return (Q), right to about 1e-15 of each; errors as in `hits_at`. Cost O(Q), however many notes
///         tie.
std::vector<double> reciprocal_ranks(std::span<const int64_t> greater,
                                     std::span<const int64_t> equal,
                                     Ties ties = Ties::kMean);

}  // namespace notellm
