#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "notellm/embedding/options.h"
#include "notellm/models/model_weights.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

/// Vectors of notes, and what computing them cost.
struct Embedded {
  at::Tensor vectors;           ///< (n, d), or (n, D) unprojected, or (n, dim) as the options say:
                                ///< fp32 (fp64 where computed in fp64), unit rows, on the model's
                                ///< device
  int64_t computed_tokens = 0;  ///< tokens that went through the decoder
  int64_t sequence_tokens = 0;  ///< tokens of all notes' prompts, before any sharing
  int64_t duplicate_notes = 0;  ///< notes that take the vector of a note with an equal prompt
  int64_t weight_bytes = 0;     ///< bytes of the blocks' matrices as stored
};

/// Embeds notes with the category prompt: pooled final-norm state, projected if a projection is
/// given, L2-normalised.
///
/// Equal prompts are computed once, and prompts are batched in the order of their tokens, so that
/// those with a common prefix share it (`prefix_batches`); rows come back in the order of
/// `indices`. A note's vector does not depend on its batch, apart from rounding in the matrix
/// products (the library chooses their kernel by the shape of the batch).
///
/// @param indices  the n notes to embed, as indices into `notes`.
/// @return         vectors in the order of `indices`.
/// @throws std::invalid_argument  if the token budget is below 1, `options.dim` above the vectors'
///                                width, or a prompt longer than the model's context; errors of
///                                `prepare_weights`.
/// @throws std::out_of_range      if an index names no note.
///
/// Memory: 4 bytes per prompt token of all notes, and one forward pass.
Embedded embed_notes(const ModelWeights& model,
                     const PromptedNotes& notes,
                     std::span<const int64_t> indices,
                     const EmbedOptions& options,
                     const ProgressFn& progress = {});

}  // namespace notellm
