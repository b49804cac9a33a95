#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/beam_search.h"
#include "notellm/generation/grammar.h"
#include "notellm/generation/next_token.h"
#include "notellm/models/language_model.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

struct DecodeOptions {
  SearchOptions search;  ///< its max_new_tokens, at most 2^20, are so many slots for each beam; the
                         ///< prompts' EOS is always among its stop tokens, and with a grammar the
                         ///< only one
  DrawOptions draw;      ///< a temperature above 0, of at least 1e-6, needs one beam
  double repetition_penalty = 1;  ///< of all tokens in prompt and output; see `penalise_repetition`
  at::ScalarType compute = at::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16
  /// Most prompt and output tokens cached at once, those that prompts share counted once. Prompts
  /// enter in blocks of a quarter of it; a longer one is a block of its own, and may exceed it.
  int64_t batch_tokens = 8192;
};

/// What may be written, where not everything may be.
struct OutputRules {
  const OutputGrammar* grammar = nullptr;    ///< null: any tokens
  std::vector<std::vector<int64_t>> banned;  ///< by request: values of the grammar; or empty
};

/// Continues prompts until their stop tokens, over the same segments as training: greedily, by
/// draws, or by beam search.
///
/// The prompts of a block share the keys and values of their common prefixes; behind each come the
/// tokens that it emits, computed once. A beam is a path through slots, so that beams fork without
/// copying any. All blocks in the cache take their steps together. A prompt leaves when its output
/// is done; when a block's last one does, the next block enters. Equal prompts are continued once,
/// those with other bans in further rounds.
///
/// @param requests  what to generate for which note; their `chosen` hashtags are ignored.
/// @return          by request: the emitted ids without the stop token; none where the rules allow
///                  no output. Greedily ties go to the smaller id.
/// @throws std::invalid_argument  if an option is out of its range, a prompt with its output is
///                                longer than the model's context, or the grammar allows no output
///                                within max_new_tokens.
std::vector<std::vector<int32_t>> generate(const LanguageModel& model,
                                           const PromptedNotes& notes,
                                           std::span<const NotePrompt> requests,
                                           const DecodeOptions& options,
                                           const OutputRules& rules = {},
                                           const ProgressFn& progress = {});

}  // namespace notellm
