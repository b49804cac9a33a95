#include "notellm/prompts/template.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "notellm/util/check.h"

namespace notellm {
namespace {

using enum PieceKind;
using Kinds = std::vector<PieceKind>;

std::string error_of(const Kinds& kinds, Task task = Task::kCategory) {
  try {
    template_parts(kinds, task);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TemplateParts, BeginWhereTheHeaderSays) {
  const auto parts = template_parts(
      Kinds{kText, kText, kTitle, kText, kContent, kText, kEmb, kText, kCategory, kText},
      Task::kCategory);
  EXPECT_EQ(parts.first_slot, 2);
  EXPECT_EQ(parts.compression, 6);
  EXPECT_EQ(parts.output, 8);
}

TEST(TemplateParts, NamesTheBrokenRule) {
  EXPECT_EQ(error_of({kTitle, kText, kCategory}),
            "prompt: there must be exactly one <emb>, but there are 0");
  EXPECT_EQ(error_of({kTitle, kText, kEmb, kEmb, kCategory}),
            "prompt: there must be exactly one <emb>, but there are 2");
  EXPECT_EQ(error_of({kTitle, kText, kEmb}),
            "prompt: there must be exactly one <category>, but there are 0");
  EXPECT_EQ(error_of({kTitle, kCategory, kText, kEmb}),
            "prompt: <category> must come after <emb>, but comes before it");
  EXPECT_EQ(error_of({kTitle, kText, kEmb, kContent, kCategory}),
            "prompt: <content> must come before <emb>, but comes after it");
  EXPECT_EQ(error_of({kTitle, kText, kEmb, kCategory}, Task::kHashtags),
            "prompt: <category> must not be in a prompt whose output is <hashtags>");
  EXPECT_NE(error_of({kText, kTitle, kEmb, kCategory}).find("just before <emb>"),
            std::string::npos);
  EXPECT_NE(error_of({kText, kEmb, kCategory}).find("at least one of <title>"), std::string::npos);
}

PromptSet small_set() {
  const auto with_output = [](PieceKind output) {
    return PromptTemplate{{{kTitle, {}}, {kText, {1}}, {kEmb, {2}}, {output, {}}}};
  };
  return {with_output(kCategory), {with_output(kHashtags)}, {}, {3}, 4};
}

TEST(PromptSet, ChecksTheTokensOfEachPiece) {
  EXPECT_NO_THROW(validate(small_set()));
  PromptSet empty_text = small_set();
  empty_text.category.pieces[1].ids.clear();
  EXPECT_THROW(validate(empty_text), ConfigError);
  PromptSet long_compression = small_set();
  long_compression.category.pieces[2].ids = {2, 2};
  EXPECT_THROW(validate(long_compression), ConfigError);
  PromptSet filled_slot = small_set();
  filled_slot.hashtags[0].pieces[0].ids = {1};
  EXPECT_THROW(validate(filled_slot), ConfigError);
  PromptSet without_hashtags = small_set();
  without_hashtags.hashtags.clear();
  EXPECT_THROW(validate(without_hashtags), ConfigError);
}

TEST(TemplateOf, RefusesCountsWithoutATemplate) {
  const PromptSet set = small_set();
  EXPECT_EQ(&template_of(set, Task::kCategory, 0), &set.category);
  EXPECT_EQ(&template_of(set, Task::kHashtags, 1), &set.hashtags[0]);
  EXPECT_THROW(template_of(set, Task::kHashtags, 0), std::invalid_argument);
  EXPECT_THROW(template_of(set, Task::kHashtags, 2), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
