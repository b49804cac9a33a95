#include "notellm/prompts/tokens.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "token_lists.h"

namespace notellm {
namespace {

TEST(TokenLists, GivesBackWhatWasPushed) {
  const TokenLists made = token_lists({{1, 2}, {}, {3}});
  ASSERT_EQ(made.size(), 3);
  EXPECT_EQ(std::vector<int32_t>(made[0].begin(), made[0].end()), (std::vector<int32_t>{1, 2}));
  EXPECT_TRUE(made[1].empty());
  EXPECT_EQ(made[2].front(), 3);
}

TEST(CheckOffsets, RefusesWhatDoesNotCutTheArray) {
  EXPECT_NO_THROW(check_offsets("x", std::vector<int64_t>{0, 2, 2, 3}, 3));
  EXPECT_THROW(check_offsets("x", std::vector<int64_t>{}, 0), std::invalid_argument);
  EXPECT_THROW(check_offsets("x", std::vector<int64_t>{1, 3}, 3), std::invalid_argument);
  EXPECT_THROW(check_offsets("x", std::vector<int64_t>{0, 2, 1, 3}, 3), std::invalid_argument);
  EXPECT_THROW(check_offsets("x", std::vector<int64_t>{0, 2}, 3), std::invalid_argument);
}

TEST(TokenizedNotes, MustDescribeTheSameNotesInEveryField) {
  const TokenizedNotes sound{token_lists({{1}, {2}}),
                             token_lists({{}, {}}),
                             token_lists({{}, {3}}),
                             token_lists({{4}, {5}, {6}}),
                             {0, 3, 3}};
  EXPECT_NO_THROW(validate(sound));
  EXPECT_EQ(sound.hashtag_count(0), 3);
  EXPECT_EQ(sound.hashtag(0, 2).front(), 6);

  TokenizedNotes missing_content = sound;
  missing_content.contents = token_lists({{}});
  EXPECT_THROW(validate(missing_content), std::invalid_argument);
  TokenizedNotes orphaned_hashtag = sound;
  orphaned_hashtag.hashtag_offsets = {0, 1, 2};
  EXPECT_THROW(validate(orphaned_hashtag), std::invalid_argument);
  TokenizedNotes missing_owner = sound;
  missing_owner.hashtag_offsets = {0, 3};
  EXPECT_THROW(validate(missing_owner), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
