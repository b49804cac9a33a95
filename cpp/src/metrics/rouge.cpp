#include "notellm/metrics/rouge.h"

#include <algorithm>
#include <map>
#include <vector>

namespace notellm {
namespace {

using Words = std::span<const std::string>;

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

Overlap rouge_l(Words prediction, Words reference) {
  // longest[j]: length for the prediction so far and the first j tokens of the reference.
  std::vector<int64_t> longest(reference.size() + 1, 0);
  for (const std::string& token : prediction) {
    int64_t diagonal = 0;
    for (size_t j = 1; j <= reference.size(); ++j) {
      const int64_t above = longest[j];
      longest[j] = token == reference[j - 1] ? diagonal + 1 : std::max(longest[j], longest[j - 1]);
      diagonal = above;
    }
  }
  return overlap(longest.back(), std::ssize(prediction), std::ssize(reference));
}

}  // namespace notellm
