#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/models/language_model.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

struct ScoreOptions {
  at::ScalarType compute = at::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16
  /// Most tokens computed at once: prompts, those that they share counted once, with a trie each; a
  /// longer one is computed alone.
  int64_t batch_tokens = 4096;
  int64_t max_logits = int64_t{1} << 24;  ///< most logits at once; at least those of one token
};

/// What a closed set of categories is written as.
struct Candidates {
  TokenLists tokens;            ///< C: a category's ids, then those of the prompt's text behind it
  std::vector<int64_t> labels;  ///< (C) how many tokens it takes, the EOS included
};

/// @param categories  C lists of ids, as they stand in a slot.
/// @throws std::invalid_argument  if a category is empty, or is written as another one is.
Candidates category_candidates(const PromptSet& prompts, const TokenLists& categories);

/// log p(category | note) of every category, the EOS included, in one pass over each note: the
/// candidates' trie hangs below the note as segments, so that beginnings in common are computed
/// once and one candidate may begin another.
///
/// @param indices  n of the notes.
/// @return         (n, C) fp64 on the CPU.
/// @throws std::invalid_argument  if there is no candidate, or a limit is below 1.
///
/// Cost: a pass over the trie for each note; a product with the head for each node of it.
at::Tensor score_categories(const LanguageModel& model,
                            const PromptedNotes& notes,
                            std::span<const int64_t> indices,
                            const Candidates& candidates,
                            const ScoreOptions& options,
                            const ProgressFn& progress = {});

}  // namespace notellm
