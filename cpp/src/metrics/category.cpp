#include "notellm/metrics/category.h"

#include <string_view>
#include <unordered_map>
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

std::vector<int64_t> confusion(std::span<const std::string> generated,
                               std::span<const std::string> truth,
                               std::span<const std::string> known) {
  NOTELLM_CHECK_ARG(generated.size() == truth.size(),
                    "generated and truth must have the same length, but have ", generated.size(),
                    " and ", truth.size());
  std::unordered_map<std::string_view, size_t> numbers;
  for (const std::string& category : known) numbers.emplace(category, numbers.size());
  const size_t width = known.size() + 1;
  std::vector<int64_t> counts(known.size() * width);
  for (size_t note = 0; note < truth.size(); ++note) {
    const auto row = numbers.find(truth[note]);
    NOTELLM_CHECK_ARG(row != numbers.end(), "true categories must be known, but that of note ",
                      note, " is '", truth[note], "'");
    const auto column = numbers.find(generated[note]);
    ++counts[row->second * width + (column == numbers.end() ? known.size() : column->second)];
  }
  return counts;
}

}  // namespace notellm
