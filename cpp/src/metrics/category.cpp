#include "notellm/metrics/category.h"

#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "notellm/util/check.h"

namespace notellm {
namespace {

void check_lengths(const char* where, size_t generated, size_t truth) {
  internal::require(generated == truth, where,
                    "generated and truth must have the same length, but have ", generated, " and ",
                    truth);
}

}  // namespace

CategoryScores category_scores(std::span<const std::string> generated,
                               std::span<const std::string> truth,
                               std::span<const std::string> known) {
  check_lengths("category_scores", generated.size(), truth.size());
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
  check_lengths("confusion", generated.size(), truth.size());
  std::unordered_map<std::string_view, size_t> numbers;
  for (const std::string& category : known) numbers.emplace(category, numbers.size());
  const size_t width = known.size() + 1;
  std::vector<int64_t> counts(known.size() * width);
  for (size_t note = 0; note < truth.size(); ++note) {
    const auto row = numbers.find(truth[note]);
    internal::require(row != numbers.end(), "confusion",
                      "true categories must be known, but that of note ", note, " is '",
                      truth[note], "'");
    const auto column = numbers.find(generated[note]);
    ++counts[row->second * width + (column == numbers.end() ? known.size() : column->second)];
  }
  return counts;
}

}  // namespace notellm
