#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/models/decoder.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

struct DecodeOptions {
  /// A note's output is cut here if no EOS came; so many slots are kept for it. At most 2^20.
  int64_t max_new_tokens = 24;
  at::ScalarType compute = at::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16
  /// Most prompt and output tokens cached at once, those that prompts share counted once. Prompts
  /// enter in blocks of a quarter of it; a longer one is a block of its own, and may exceed it.
  int64_t batch_tokens = 8192;
};

/// Greedy decoding: every note's most probable next token until the EOS, over the same segments as
/// training.
///
/// The prompts of a block share the keys and values of their common prefixes; behind each come the
/// tokens that it emits, computed once. All blocks in the cache take their steps together. A note
/// leaves with its EOS; when a block's last one does, the next block enters. Equal prompts are
/// decoded once.
///
/// @param head      (V, D) of the LM head; the token embedding where the two are tied.
/// @param requests  what to generate for which note; their `chosen` hashtags are ignored.
/// @return          by request: the emitted ids without the EOS. Ties go to the smaller id.
/// @throws std::invalid_argument  if a limit is out of its range.
std::vector<std::vector<int32_t>> generate_greedy(const DecoderWeights& weights,
                                                  const at::Tensor& head,
                                                  const DecoderConfig& config,
                                                  const PromptSet& prompts,
                                                  const TokenizedNotes& tokenized,
                                                  std::span<const NotePrompt> requests,
                                                  const DecodeOptions& options,
                                                  const ProgressFn& progress = {});

}  // namespace notellm
