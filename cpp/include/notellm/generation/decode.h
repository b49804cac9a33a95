#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/beam_search.h"
#include "notellm/generation/grammar.h"
#include "notellm/generation/next_token.h"
#include "notellm/models/model_weights.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

/// Constraints on the outputs.
struct OutputRules {
  const OutputGrammar* grammar = nullptr;    ///< null: any tokens
  std::vector<std::vector<int64_t>> banned;  ///< by request: values of the grammar; or empty
};

/// Continues prompts until a stop token: greedily, by sampling, or by beam search. Uses the same
/// segment forest as training.
///
/// Prompts enter the KV cache in blocks (continuous batching). Those of a block share the keys and
/// values of their common prefixes. A beam is a path through cache slots, so beams fork without
/// copying keys and values. All blocks in the cache take their steps together. A prompt leaves when
/// its output is complete; when the last prompt of a block has left, the next block enters. Equal
/// prompts are continued once; if their banned values differ, in further rounds.
///
/// @param requests  what to generate for which note; their `chosen` hashtags are ignored.
/// @return          by request: the generated ids without the stop token; empty if the rules allow
///                  no output. In greedy decoding, ties go to the smaller id.
/// @throws std::invalid_argument  if an option is out of range, a prompt with its output is longer
///                                than the model's context, or the grammar allows no output within
///                                max_new_tokens.
std::vector<std::vector<int32_t>> generate(const ModelWeights& model,
                                           const PromptedNotes& notes,
                                           std::span<const NotePrompt> requests,
                                           const DecodingOptions& options,
                                           const OutputRules& rules = {},
                                           const ProgressFn& progress = {});

}  // namespace notellm
