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
                                           const DecodingOptions& options,
                                           const OutputRules& rules = {},
                                           const ProgressFn& progress = {});

}  // namespace notellm
