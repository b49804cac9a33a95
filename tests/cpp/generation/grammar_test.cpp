#include "notellm/generation/grammar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <vector>

namespace notellm {
namespace {

using Ids = std::vector<int32_t>;

constexpr int32_t kEos = 9, kEmb = 8;

// Both prompts end with `closing` behind their output.
PromptSet prompts(const Ids& separator, const Ids& closing) {
  const auto with_output = [&](PieceKind slot) {
    PromptTemplate prompt{{{PieceKind::kTitle, {}},
                           {PieceKind::kText, {7}},
                           {PieceKind::kEmb, {kEmb}},
                           {PieceKind::kText, {7}},
                           {slot, {}}}};
    if (!closing.empty()) prompt.pieces.push_back({PieceKind::kText, closing});
    return prompt;
  };
  PromptSet set;
  set.category = with_output(PieceKind::kCategory);
  set.hashtags.assign(3, with_output(PieceKind::kHashtags));
  set.separator = separator;
  set.eos = kEos;
  return set;
}

TokenLists lists(const std::vector<Ids>& of) {
  TokenLists made;
  for (const Ids& one : of) made.push_back(one);
  return made;
}

struct Case {
  std::vector<Ids> values;
  Ids separator, closing;
  int64_t max_values;
};

// Every output that the definition allows, EOS included: at most `longest` tokens before it.
std::set<Ids> all_outputs(const Case& c, const std::vector<int64_t>& banned, int64_t longest) {
  std::set<Ids> outputs;
  struct Part {
    Ids tokens;
    std::vector<int64_t> used;
  };
  std::vector<Part> parts{{}};
  while (!parts.empty()) {
    const Part part = parts.back();
    parts.pop_back();
    if (!part.used.empty()) {
      Ids whole = part.tokens;
      whole.insert(whole.end(), c.closing.begin(), c.closing.end());
      if (std::ssize(whole) <= longest) {
        whole.push_back(kEos);
        outputs.insert(whole);
      }
    }
    if (std::ssize(part.used) == c.max_values) continue;
    for (int64_t v = 0; v < std::ssize(c.values); ++v) {
      if (std::ranges::count(banned, v) || std::ranges::count(part.used, v)) continue;
      Part next = part;
      if (!part.used.empty()) {
        next.tokens.insert(next.tokens.end(), c.separator.begin(), c.separator.end());
      }
      next.tokens.insert(next.tokens.end(), c.values[v].begin(), c.values[v].end());
      next.used.push_back(v);
      parts.push_back(next);
    }
  }
  return outputs;
}

// From every beginning that an output has, `next` must allow what any output with it goes on with.
void expect_all_beginnings(const Case& c, const std::vector<int64_t>& banned, int64_t longest) {
  const std::set<Ids> outputs = all_outputs(c, banned, longest);
  std::set<Ids> beginnings;
  for (const Ids& output : outputs) {
    for (size_t n = 0; n < output.size(); ++n) {
      beginnings.insert(Ids(output.begin(), output.begin() + n));
    }
  }
  const OutputGrammar grammar(prompts(c.separator, c.closing), lists(c.values), Task::kHashtags,
                              c.max_values);
  for (const Ids& beginning : beginnings) {
    std::set<int32_t> expected;
    for (const Ids& output : outputs) {
      if (output.size() > beginning.size() &&
          std::equal(beginning.begin(), beginning.end(), output.begin())) {
        expected.insert(output[beginning.size()]);
      }
    }
    const Ids actual = grammar.next(beginning, banned, longest - std::ssize(beginning));
    EXPECT_EQ(actual, Ids(expected.begin(), expected.end()));
  }
  if (outputs.empty()) {
    EXPECT_TRUE(grammar.next({}, banned, longest).empty());
  }
}

// One value begins another, the separator is a part of one, or ends what closes the prompt.
const std::vector<Case> kCases = {
    {{{1}, {2, 3}, {2}}, {5}, {}, 1},
    {{{1}, {2, 3}, {2}, {2, 3, 4}}, {5}, {6}, 2},
    {{{1}, {1, 5, 2}, {2}, {2, 5}}, {5}, {}, 3},
    {{{1}, {1, 1}, {1, 1, 1}}, {}, {}, 3},
    {{{1, 2}, {3}}, {5, 1}, {5, 6}, 2},
    {{{1, 5}, {1}, {5}}, {5}, {5, 5}, 2},
};

TEST(Grammar, AllowsWhatTheDefinitionAllows) {
  for (const Case& c : kCases) {
    for (const int64_t longest : {1, 2, 3, 4, 5, 6, 20}) expect_all_beginnings(c, {}, longest);
  }
}

TEST(Grammar, NeverLeadsToBannedValuesOnly) {
  for (const Case& c : kCases) {
    const int64_t count = std::ssize(c.values);
    for (int64_t set = 1; set < (1 << count); ++set) {
      std::vector<int64_t> banned;
      for (int64_t v = count - 1; v >= 0; --v) {
        if (set >> v & 1) banned.push_back(v);
      }
      for (const int64_t longest : {2, 4, 20}) expect_all_beginnings(c, banned, longest);
    }
  }
}

TEST(Grammar, KnowsItsLengths) {
  const OutputGrammar grammar(prompts({5}, {6, 6}), lists({{1, 2}, {3, 4, 4}, {2}}),
                              Task::kCategory, 1);
  EXPECT_EQ(grammar.shortest(), 3);
  EXPECT_EQ(grammar.longest_value(), 5);
}

TEST(Grammar, RefusesValuesThatCannotBeTold) {
  const PromptSet set = prompts({5}, {});
  EXPECT_THROW(OutputGrammar(set, lists({}), Task::kCategory, 1), std::invalid_argument);
  EXPECT_THROW(OutputGrammar(set, lists({{1}, {}}), Task::kCategory, 1), std::invalid_argument);
  EXPECT_THROW(OutputGrammar(set, lists({{1}, {2}, {1}}), Task::kCategory, 1),
               std::invalid_argument);
  EXPECT_THROW(OutputGrammar(set, lists({{1}}), Task::kCategory, 0), std::invalid_argument);
  EXPECT_THROW(OutputGrammar(set, lists({{1}}), Task::kHashtags, 4), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
