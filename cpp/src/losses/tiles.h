#pragma once

#include <ATen/core/Tensor.h>

/// Shared parts of the tiled losses. Scores are in units of log2: in LibTorch on the CPU `exp2` is
/// several times faster than `exp`, which goes through MKL. On a GPU for which the library was
/// built, everything here is one pass over a tile.
namespace notellm::internal {

/// Log-sum-exps of rows (or columns) of scores that come tile by tile.
class RunningLogSum {
 public:
  RunningLogSum(int64_t count, const at::TensorOptions& options);

  /// @param scores  (P, C); scores of -inf are left out.
  /// @param dim     the dimension that is summed; the other one stands for entries
  ///                [begin, begin + P) (or C).
  void absorb(const at::Tensor& scores, int64_t dim, int64_t begin);

  /// (count): log2 of the sums of exp2 of all scores so far; -inf if there were none.
  at::Tensor log_sums() const;

 private:
  at::Tensor maxima_, sums_;  // (count)
};

/// `exp2(scores - log_sums)` with one log-sum for each entry of the dimension other than `dim`:
/// the softmax along `dim` within a tile.
at::Tensor tile_softmax(const at::Tensor& scores, int64_t dim, const at::Tensor& log_sums);

/// The same, written over the scores.
void to_tile_softmax(at::Tensor& scores, int64_t dim, const at::Tensor& log_sums);

}  // namespace notellm::internal
