#pragma once

#include "notellm/losses/terms.h"

namespace notellm {

/// How the generative loss weighs its tokens.
enum class CsftReduction {
  kNote,  ///< mean over a note's output tokens, eq. (3), then summed over notes: count = notes with
          ///< an output
  kToken,  ///< summed over all output tokens, as in the authors' public code: count = tokens
};

/// Collaborative supervised fine-tuning loss, eq. (3): -log p(o_t | o_<t, input) of the output
/// tokens.
///
/// @param logits         (M, V) floating point: next-token logits at the label positions.
/// @param labels         (M) int64 in [0, V): the token to predict at each.
/// @param label_offsets  (n + 1) int64 on the CPU, ascending from 0 to M: note i owns labels
///                       [label_offsets[i], label_offsets[i + 1]); a note may own none.
/// @return               sum and count as `reduction` says; differentiable (twice) in `logits`.
/// @throws std::invalid_argument  if shapes or offsets do not match.
/// @throws std::out_of_range      for a label outside [0, V).
LossTerm csft_loss(const at::Tensor& logits,
                   const at::Tensor& labels,
                   const at::Tensor& label_offsets,
                   CsftReduction reduction = CsftReduction::kNote);

}  // namespace notellm
