#include "notellm/generation/grammar.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "notellm/util/check.h"

namespace notellm {
namespace {

// The fixed text behind the output slot of a prompt.
std::vector<int32_t> closing_text(const PromptSet& prompts, Task task, int64_t count) {
  const auto most = task == Task::kCategory ? int64_t{1} : std::ssize(prompts.hashtags);
  internal::require(count >= 1 && count <= most, "OutputGrammar", "max_values must be in [1, ",
                    most, "], but is ", count);
  const PromptTemplate& prompt =
      template_of(prompts, task, static_cast<int>(count), "OutputGrammar");
  const TemplateParts parts = template_parts(prompt, task);
  std::vector<int32_t> ids;
  for (size_t p = parts.output + 1; p < prompt.pieces.size(); ++p) {
    ids.insert(ids.end(), prompt.pieces[p].ids.begin(), prompt.pieces[p].ids.end());
  }
  return ids;
}

bool contains(std::span<const int64_t> numbers, int64_t number) {
  return std::ranges::find(numbers, number) != numbers.end();
}

}  // namespace

// The state of one call of `next`: which sorted values are banned.
struct OutputGrammar::Search {
  std::vector<int64_t> banned;  // places, ascending

  bool allows(int64_t place, std::span<const int64_t> used) const {
    return !std::ranges::binary_search(banned, place) && !contains(used, place);
  }
};

OutputGrammar::OutputGrammar(const PromptSet& prompts,
                             TokenLists values,
                             Task task,
                             int64_t max_values)
    : values_(std::move(values)),
      separator_(prompts.separator),
      closing_(closing_text(prompts, task, max_values)),
      eos_(prompts.eos),
      max_values_(max_values) {
  const internal::Require require("OutputGrammar");
  require(values_.size() >= 1, "there must be a value to write, but there is none");
  for (int64_t v = 0; v < values_.size(); ++v) {
    require(!values_[v].empty(), "values must not be empty, but number ", v, " is");
  }
  order_.resize(values_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::ranges::stable_sort(
      order_, [](auto a, auto b) { return std::ranges::lexicographical_compare(a, b); },
      [&](int64_t v) { return values_[v]; });
  for (size_t i = 1; i < order_.size(); ++i) {
    require(!std::ranges::equal(sorted(i - 1), sorted(i)), "values must be distinct, but number ",
            order_[i], " is written as number ", order_[i - 1]);
  }
  place_.resize(order_.size());
  for (size_t i = 0; i < order_.size(); ++i) place_[order_[i]] = static_cast<int64_t>(i);
}

std::vector<int32_t> OutputGrammar::next(std::span<const int32_t> output,
                                         std::span<const int64_t> banned,
                                         int64_t remaining) const {
  Search search;
  for (const int64_t number : banned) search.banned.push_back(place_.at(number));
  std::ranges::sort(search.banned);
  std::vector<Reading> readings{{Reading::kValue, 0, values_.size(), 0, {}}};
  for (const int32_t token : output) {
    std::vector<Reading> longer;
    for (const Reading& reading : readings) follow(reading, token, search, longer);
    readings = std::move(longer);
  }
  std::vector<int32_t> tokens;
  for (const Reading& reading : readings) continuations(reading, search, remaining, tokens);
  std::ranges::sort(tokens);
  const auto repeated = std::ranges::unique(tokens);
  tokens.erase(repeated.begin(), repeated.end());
  return tokens;
}

// The readings in which the value read so far is complete: another value or the end may follow.
std::vector<OutputGrammar::Reading> OutputGrammar::completed(const Reading& reading,
                                                             const Search& search) const {
  const int64_t place = reading.first;  // in the order, a value precedes those it is a prefix of
  if (reading.depth != std::ssize(sorted(place)) || !search.allows(place, reading.used)) return {};
  std::vector<Reading> after;
  Reading next{Reading::kClosing, 0, values_.size(), 0, reading.used};
  next.used.push_back(place);
  after.push_back(next);
  if (std::ssize(next.used) < max_values_) {
    next.part = separator_.empty() ? Reading::kValue : Reading::kSeparator;
    after.push_back(std::move(next));
  }
  return after;
}

// One past the last of the reading's sorted values that go on with the same token as the value at
// `place`.
int64_t OutputGrammar::branch_end(const Reading& reading, int64_t place) const {
  const auto values = std::span(order_).subspan(place, reading.end - place);
  const int32_t token = sorted(place)[reading.depth];
  return place + (std::ranges::upper_bound(values, token, {},
                                           [&](int64_t v) { return values_[v][reading.depth]; }) -
                  values.begin());
}

void OutputGrammar::follow(const Reading& reading,
                           int32_t token,
                           const Search& search,
                           std::vector<Reading>& readings) const {
  if (reading.part != Reading::kValue) {
    const bool separates = reading.part == Reading::kSeparator;
    const std::vector<int32_t>& text = separates ? separator_ : closing_;
    if (reading.depth == std::ssize(text) || text[reading.depth] != token) return;
    Reading next = reading;
    if (++next.depth == std::ssize(text) && separates) next.part = Reading::kValue, next.depth = 0;
    readings.push_back(std::move(next));
    return;
  }
  for (const Reading& after : completed(reading, search)) follow(after, token, search, readings);
  Reading next = reading;
  if (std::ssize(sorted(next.first)) == next.depth) ++next.first;  // that value is already complete
  const auto values = std::span(order_).subspan(next.first, next.end - next.first);
  const auto same = std::ranges::equal_range(values, token, {},
                                             [&](int64_t v) { return values_[v][reading.depth]; });
  if (same.empty()) return;
  next.end = next.first + (same.end() - values.begin());
  next.first += same.begin() - values.begin();
  ++next.depth;
  readings.push_back(std::move(next));
}

void OutputGrammar::continuations(const Reading& reading,
                                  const Search& search,
                                  int64_t remaining,
                                  std::vector<int32_t>& tokens) const {
  const int64_t closing = std::ssize(closing_);
  // whether one of these values, read up to `depth`, can be finished within the remaining tokens
  const auto can_end = [&](int64_t first, int64_t end, int64_t depth, int64_t left,
                           std::span<const int64_t> used) {
    for (int64_t place = first; place < end; ++place) {
      const int64_t needed = std::ssize(sorted(place)) - depth + closing;
      if (needed <= left && search.allows(place, used)) return true;
    }
    return false;
  };
  if (reading.part == Reading::kClosing) {
    if (reading.depth == closing) tokens.push_back(eos_);
    if (reading.depth < closing && closing - reading.depth <= remaining) {
      tokens.push_back(closing_[reading.depth]);
    }
    return;
  }
  if (reading.part == Reading::kSeparator) {
    const int64_t left = remaining - (std::ssize(separator_) - reading.depth);
    if (can_end(0, values_.size(), 0, left, reading.used)) {
      tokens.push_back(separator_[reading.depth]);
    }
    return;
  }
  for (const Reading& after : completed(reading, search)) {
    continuations(after, search, remaining, tokens);
  }
  int64_t place = reading.first;
  if (std::ssize(sorted(place)) == reading.depth) ++place;
  while (place < reading.end) {
    const int64_t end = branch_end(reading, place);
    if (can_end(place, end, reading.depth, remaining, reading.used)) {
      tokens.push_back(sorted(place)[reading.depth]);
    }
    place = end;
  }
}

std::pair<int32_t, int32_t> OutputGrammar::token_range() const {
  int32_t low = eos_, high = eos_;
  for (const auto* tokens : {&values_.ids, &separator_, &closing_}) {
    for (const int32_t token : *tokens) low = std::min(low, token), high = std::max(high, token);
  }
  return {low, high};
}

int64_t OutputGrammar::shortest() const {
  int64_t shortest = std::ssize(values_[0]);
  for (const auto value : values_.spans()) shortest = std::min(shortest, std::ssize(value));
  return shortest + std::ssize(closing_);
}

int64_t OutputGrammar::longest_value() const {
  int64_t longest = 0;
  for (const auto value : values_.spans()) longest = std::max(longest, std::ssize(value));
  return longest + std::ssize(closing_);
}

}  // namespace notellm
