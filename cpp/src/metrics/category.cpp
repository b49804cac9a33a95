#include "notellm/metrics/category.h"

#include <string_view>
#include <unordered_set>

#include "notellm/util/check.h"

namespace notellm {

CategoryScores category_scores(std::span<const std::string> generated,
                               std::span<const std::string> truth,
                               std::span<const std::string> known) {
  NOTELLM_CHECK_ARG(generated.size() == truth.size(),
                    "generated and truth must have the same length, but have ", generated.size(),
                    " and ", truth.size());
  const std::unordered_set<std::string_view> categories(known.begin(), known.end());
  CategoryScores scores;
  for (size_t note = 0; note < generated.size(); ++note) {
    scores.correct.push_back(generated[note] == truth[note]);
    scores.illusory.push_back(!categories.contains(generated[note]));
  }
  return scores;
}

}  // namespace notellm
