#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/options.h"
#include "notellm/models/model_weights.h"
#include "notellm/prompts/packing.h"
#include "notellm/util/progress.h"

namespace notellm {

struct ScoreOptions {
  at::ScalarType compute = at::kFloat;  ///< dtype of the matrix products: fp64, fp32 or bf16
  /// Most tokens of one forward pass: prompts (shared tokens counted once), each with its trie of
  /// candidates; a prompt that is longer gets its own pass.
  int64_t batch_tokens = DecodingOptions().batch_tokens;
  int64_t max_logits = int64_t{1} << 24;  ///< most logits at once; at least those of one token
};

/// A closed set of categories as outputs in tokens.
struct CategoryTokens {
  TokenLists tokens;            ///< C lists: a category's ids, then those of the closing text
  std::vector<int64_t> labels;  ///< (C) how many tokens it must predict, the EOS included
};

/// @param categories  C lists of ids, as they stand in a slot.
/// @throws std::invalid_argument  if a category is empty, or two have the same tokens.
CategoryTokens category_tokens(const PromptSet& prompts, const TokenLists& categories);

/// log p(category | note) of every category, the EOS included, in one forward pass per note. The
/// trie of the candidates is laid out as segments below the note: common prefixes are computed
/// once, and one candidate may be a prefix of another.
///
/// @param indices  the n notes to score, as indices into `notes`.
/// @return         (n, C) fp64 on the CPU.
/// @throws std::invalid_argument  if there is no candidate, a limit is below 1, or a prompt with
///                                the longest category is longer than the model's context.
///
/// Cost for each note: a forward pass over the trie, and a product with the LM head for each node.
at::Tensor score_categories(const ModelWeights& model,
                            const PromptedNotes& notes,
                            std::span<const int64_t> indices,
                            const CategoryTokens& candidates,
                            const ScoreOptions& options,
                            const ProgressFn& progress = {});

}  // namespace notellm
