#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "notellm/models/decoder.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

/// Which of a note's states become its vector.
enum class Pooling {
  kCompression,  ///< the state of the token just before [EMB]
  kMean,  ///< the mean over the note's own tokens (of a prompt without instruction: the bare note)
};

struct EmbedOptions {
  Pooling pooling = Pooling::kCompression;
  at::ScalarType compute = at::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16
  /// Most tokens that one forward pass computes, those that notes share counted once; a longer note
  /// gets its own pass. Bounds memory.
  int64_t batch_tokens = 8192;
  /// How the blocks' matrices are kept meanwhile.
  WeightStorage weights = WeightStorage::kSame;
};

/// What embedding cost.
struct EmbedReport {
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
/// come back in the order of `notes`. A note's vector does not depend on its batch but for rounding
/// in the products (the shape of a batch chooses their kernel).
///
/// @param projection  (d, D), or undefined for the raw state.
/// @param notes       n indices into `tokenized`.
/// @param report      filled if not null.
/// @return            (n, d) or (n, D) fp32 (fp64 where computed in fp64), unit rows, on the
/// weights' device.
/// @throws std::invalid_argument  if the token budget is below 1; errors of `prepare_weights`.
/// @throws std::out_of_range      for an index outside `tokenized`.
///
/// Memory: 4 bytes a prompt token of all notes, and one pass.
at::Tensor embed_notes(const DecoderWeights& weights,
                       const DecoderConfig& config,
                       const at::Tensor& projection,
                       const PromptSet& prompts,
                       const TokenizedNotes& tokenized,
                       std::span<const int64_t> notes,
                       const EmbedOptions& options,
                       const ProgressFn& progress = {},
                       EmbedReport* report = nullptr);

}  // namespace notellm
