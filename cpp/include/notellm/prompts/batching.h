#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/prompts/packing.h"

namespace notellm {

/// Tokens of each request's own segment: its prompt without the root that it shares with others.
std::vector<int64_t> own_lengths(const PromptSet& prompts,
                                 const TokenizedNotes& notes,
                                 std::span<const NotePrompt> requests,
                                 PackMode mode);

/// Cuts items into consecutive batches of at most `budget` tokens; an item longer than the budget
/// is a batch alone.
///
/// @param lengths  tokens of each item.
/// @return         offsets: batch b is the items [offsets[b], offsets[b + 1]); {0} when there is no
/// item.
/// @throws std::invalid_argument  if the budget is below 1.
std::vector<int64_t> token_budget_batches(std::span<const int64_t> lengths, int64_t budget);

}  // namespace notellm
