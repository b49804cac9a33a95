#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "notellm/embedding/options.h"
#include "notellm/models/language_model.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

/// Vectors of notes, and what they cost.
struct Embedded {
  at::Tensor vectors;           ///< (n, d), or (n, D) unprojected: fp32 (fp64 where computed in
                                ///< fp64), unit rows, on the model's device
  int64_t computed_tokens = 0;  ///< tokens that went through the decoder
  int64_t sequence_tokens = 0;  ///< tokens that would have, had notes shared nothing
  int64_t duplicate_notes = 0;  ///< notes whose vector is that of an equal one
  int64_t weight_bytes = 0;     ///< of the blocks' matrices as they were kept
};

/// Embeds notes with the category prompt: pooled final-norm state, projected if a projection is
/// given, L2-normalised.
///
/// Every prompt is laid out once. Equal prompts are computed once, and prompts are batched in the
/// order of their tokens, so that those with a prefix in common share it (`prefix_batches`); rows
/// come back in the order of `indices`. A note's vector does not depend on its batch but for
/// rounding in the products (the shape of a batch chooses their kernel).
///
/// @param indices  n of the notes.
/// @return         vectors in the order of `indices`.
/// @throws std::invalid_argument  if the token budget is below 1; errors of `prepare_weights`.
/// @throws std::out_of_range      for an index of no note.
///
/// Memory: 4 bytes a prompt token of all notes, and one pass.
Embedded embed_notes(const LanguageModel& model,
                     const PromptedNotes& notes,
                     std::span<const int64_t> indices,
                     const EmbedOptions& options,
                     const ProgressFn& progress = {});

}  // namespace notellm
