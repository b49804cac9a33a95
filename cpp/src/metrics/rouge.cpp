#include "notellm/metrics/rouge.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace notellm {
namespace {

using Words = std::span<const std::string>;

constexpr size_t kStepsAtATime = size_t{1} << 23;  // some milliseconds

Overlap overlap(int64_t shared, int64_t prediction, int64_t reference) {
  if (shared == 0) return {};
  const auto both = static_cast<double>(shared);
  return {both / static_cast<double>(prediction), both / static_cast<double>(reference),
          2 * both / static_cast<double>(prediction + reference)};
}

// Shared runs of n tokens.
Overlap rouge_n(Words prediction, Words reference, size_t n) {
  using Run = std::vector<std::string>;
  const auto run = [n](Words text, size_t i) {
    return Run(text.begin() + i, text.begin() + i + n);
  };
  const auto runs = [n](Words text) { return text.size() < n ? 0 : text.size() - n + 1; };
  std::map<Run, int64_t> left;  // how often a run of the reference is still unmatched
  for (size_t i = 0; i < runs(reference); ++i) ++left[run(reference, i)];
  int64_t shared = 0;
  for (size_t i = 0; i < runs(prediction); ++i) {
    const auto found = left.find(run(prediction, i));
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++shared;
  }
  return overlap(shared, static_cast<int64_t>(runs(prediction)),
                 static_cast<int64_t>(runs(reference)));
}

}  // namespace

Overlap rouge_1(Words prediction, Words reference) { return rouge_n(prediction, reference, 1); }

Overlap rouge_2(Words prediction, Words reference) { return rouge_n(prediction, reference, 2); }

Overlap rouge_l(Words prediction, Words reference, const ProgressFn& progress) {
  // Numbers are compared n m times, which takes a tenth of the time that texts take.
  std::unordered_map<std::string_view, int64_t> numbers;
  std::vector<int64_t> written;
  for (const std::string& token : reference) {
    written.push_back(numbers.try_emplace(token, std::ssize(numbers)).first->second);
  }
  // longest[j]: length for the prediction so far and the first j tokens of the reference.
  std::vector<int64_t> longest(reference.size() + 1, 0);
  const size_t tokens_at_a_time = 1 + kStepsAtATime / longest.size();
  for (size_t i = 0; i < prediction.size(); ++i) {
    if (i % tokens_at_a_time == 0) {
      report_progress(progress, static_cast<int64_t>(i), std::ssize(prediction));
    }
    const auto found = numbers.find(prediction[i]);
    if (found == numbers.end()) continue;
    int64_t diagonal = 0;
    for (size_t j = 1; j < longest.size(); ++j) {
      const int64_t above = longest[j];
      longest[j] =
          found->second == written[j - 1] ? diagonal + 1 : std::max(longest[j], longest[j - 1]);
      diagonal = above;
    }
  }
  return overlap(longest.back(), std::ssize(prediction), std::ssize(reference));
}

}  // namespace notellm
