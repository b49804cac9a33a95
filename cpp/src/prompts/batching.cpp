#include "notellm/prompts/batching.h"

#include "notellm/util/check.h"

namespace notellm {

std::vector<int64_t> own_lengths(const PromptSet& prompts,
                                 const TokenizedNotes& notes,
                                 std::span<const NotePrompt> requests,
                                 PackMode mode) {
  std::vector<int64_t> lengths;
  lengths.reserve(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const PackedBatch alone = pack(prompts, notes, requests.subspan(i, 1), mode);
    const auto end = alone.segment_offsets.rbegin();  // the note's segment is the last
    lengths.push_back(end[0] - end[1]);
  }
  return lengths;
}

std::vector<int64_t> token_budget_batches(std::span<const int64_t> lengths, int64_t budget) {
  NOTELLM_CHECK_ARG(budget >= 1, "the token budget must be at least 1, but is ", budget);
  std::vector<int64_t> offsets{0};
  int64_t tokens = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(lengths.size()); ++i) {
    if (i > offsets.back() && tokens + lengths[i] > budget) {
      offsets.push_back(i);
      tokens = 0;
    }
    tokens += lengths[i];
  }
  if (!lengths.empty()) offsets.push_back(static_cast<int64_t>(lengths.size()));
  return offsets;
}

}  // namespace notellm
