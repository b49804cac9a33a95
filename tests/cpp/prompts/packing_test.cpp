#include "notellm/prompts/packing.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace notellm {
namespace {

using enum PieceKind;
using Ids = std::vector<int64_t>;

constexpr int32_t kBos = 1, kEos = 2, kEmbToken = 3, kComma = 4;

// Category: BOS 10 11 | title 12 topics 13 [EMB] 14 category 15.
// j hashtags: BOS 20+j | title 12 topics 13 [EMB] 14 hashtags.
PromptSet prompts() {
  const Piece title{kTitle, {}}, topics{kTopics, {}}, emb{kEmb, {kEmbToken}};
  const auto text = [](std::vector<int32_t> ids) { return Piece{kText, std::move(ids)}; };
  PromptSet set;
  set.category.pieces = {text({10}), text({11}), title,      text({12}),      topics,
                         text({13}), emb,        text({14}), {kCategory, {}}, text({15})};
  for (int32_t j = 1; j <= 2; ++j) {
    set.hashtags.push_back({{text({20 + j}),
                             title,
                             text({12}),
                             topics,
                             text({13}),
                             emb,
                             text({14}),
                             {kHashtags, {}}}});
  }
  set.bos = {kBos};
  set.separator = {kComma};
  set.eos = kEos;
  return set;
}

// Note 0: title 100 101, hashtags 200, 201 202, 203, category 300 301. Note 1: nothing at all.
TokenizedNotes notes() {
  TokenizedNotes made;
  const auto push = [](TokenLists& lists, const std::vector<int32_t>& ids) {
    lists.push_back(ids);
  };
  push(made.titles, {100, 101});
  push(made.titles, {});
  push(made.contents, {});
  push(made.contents, {});
  push(made.categories, {300, 301});
  push(made.categories, {});
  push(made.hashtags, {200});
  push(made.hashtags, {201, 202});
  push(made.hashtags, {203});
  made.hashtag_offsets = {0, 3, 3};
  return made;
}

PackedBatch pack_one(const NotePrompt& prompt, PackMode mode) {
  return pack(prompts(), notes(), {&prompt, 1}, mode);
}

// The tokens of prompt i, read along its path.
Ids tokens_of(const PackedBatch& batch, int64_t i) {
  Ids tokens;
  for (const int64_t t : path_to(batch.segment_offsets, batch.segment_parents, batch.last[i])) {
    tokens.push_back(batch.tokens[t]);
  }
  return tokens;
}

TEST(Pack, LaysOutTheCategoryPrompt) {
  const PackedBatch batch = pack_one({0, Task::kCategory, 0, {}}, PackMode::kTrain);
  EXPECT_EQ(batch.tokens, (Ids{kBos, 10, 11,                                          // root
                               100, 101, 12, 200, kComma, 201, 202, kComma, 203, 13,  // note
                               kEmbToken, 14, 300, 301, 15}));
  EXPECT_EQ(batch.segment_offsets, (Ids{0, 18}));
  EXPECT_EQ(batch.segment_parents, Ids{-1});
  EXPECT_EQ(batch.root_tokens, Ids{3});
  EXPECT_EQ(batch.compression, Ids{12});
  EXPECT_EQ(batch.last, Ids{17});
  EXPECT_EQ(batch.labels, (Ids{300, 301, 15, kEos}));
  EXPECT_EQ(batch.label_positions, (Ids{14, 15, 16, 17}));
  EXPECT_EQ(batch.label_offsets, (Ids{0, 4}));
}

TEST(Pack, StopsWhereTheModeSays) {
  const NotePrompt prompt{0, Task::kCategory, 0, {}};
  const PackedBatch train = pack_one(prompt, PackMode::kTrain);
  const PackedBatch embed = pack_one(prompt, PackMode::kEmbed);
  const PackedBatch generate = pack_one(prompt, PackMode::kGenerate);
  EXPECT_EQ(embed.tokens, Ids(train.tokens.begin(), train.tokens.begin() + 13));
  EXPECT_EQ(generate.tokens, Ids(train.tokens.begin(), train.tokens.begin() + 15));
  EXPECT_EQ(embed.compression, train.compression);
  EXPECT_EQ(generate.compression, train.compression);
  EXPECT_EQ(embed.last, embed.compression);
  EXPECT_EQ(generate.last, Ids{14});
  EXPECT_TRUE(embed.labels.empty());
  EXPECT_TRUE(generate.labels.empty());
}

TEST(Pack, ShowsOnlyTheHashtagsThatAreNotToBeWritten) {
  const NotePrompt two{0, Task::kHashtags, 2, {2, 0}};
  EXPECT_EQ(pack_one(two, PackMode::kTrain).tokens,
            (Ids{kBos, 22, 100, 101, 12, 201, 202, 13, kEmbToken, 14, 203, kComma, 200}));
  EXPECT_EQ(pack_one(two, PackMode::kTrain).labels, (Ids{203, kComma, 200, kEos}));
  const NotePrompt open{0, Task::kHashtags, 2, {}};
  EXPECT_EQ(pack_one(open, PackMode::kGenerate).tokens,
            (Ids{kBos, 22, 100, 101, 12, 13, kEmbToken, 14}));
}

TEST(Pack, SharesWhatPromptsBeginWith) {
  PromptSet set = prompts();
  set.hashtags[0].pieces[0].ids = {10, 11, 21, 22};  // as the category prompt, then otherwise
  const std::vector<NotePrompt> rows{{0, Task::kCategory, 0, {}},
                                     {0, Task::kHashtags, 1, {1}},
                                     {1, Task::kCategory, 0, {}},
                                     {0, Task::kHashtags, 1, {0}}};
  const PackedBatch batch = pack(set, notes(), rows, PackMode::kTrain);
  // BOS 10 11 with three children: note 1; BOS 10 11 21 22 100 101 12 with two notes; note 0
  EXPECT_EQ(Ids(batch.tokens.begin(), batch.tokens.begin() + 3), (Ids{kBos, 10, 11}));
  EXPECT_EQ(batch.tokens.size(), batch.segment_offsets.back());
  EXPECT_EQ(batch.root_tokens, (Ids{3, 5, 3, 5}));
  for (size_t i = 0; i < rows.size(); ++i) {  // a note alone has the same tokens
    const PackedBatch alone = pack(set, notes(), {&rows[i], 1}, PackMode::kTrain);
    EXPECT_EQ(tokens_of(batch, i), alone.tokens);
    EXPECT_EQ(batch.tokens[batch.compression[i]], 13);
  }
}

TEST(Pack, LaysEqualPromptsOutOnceAndLetsEachKeepItsLabels) {
  const std::vector<NotePrompt> rows{
      {0, Task::kCategory, 0, {}}, {1, Task::kCategory, 0, {}}, {0, Task::kCategory, 0, {}}};
  const PackedBatch batch = pack(prompts(), notes(), rows, PackMode::kTrain);
  EXPECT_EQ(batch.compression[0], batch.compression[2]);
  EXPECT_EQ(batch.last[0], batch.last[2]);
  EXPECT_EQ(batch.label_offsets, (Ids{0, 4, 4, 8}));
  for (int64_t m = 0; m < 4; ++m) {
    EXPECT_EQ(batch.label_positions[m], batch.label_positions[4 + m]);
    EXPECT_EQ(batch.labels[m], batch.labels[4 + m]);
  }
}

TEST(Pack, GivesEveryPromptALeafToGenerateIn) {
  const std::vector<NotePrompt> rows{{0, Task::kCategory, 0, {}}, {0, Task::kCategory, 0, {}}};
  const PackedBatch batch = pack(prompts(), notes(), rows, PackMode::kGenerate);
  EXPECT_EQ(batch.segment_offsets, (Ids{0, 14, 15, 16}));
  EXPECT_EQ(batch.segment_parents, (Ids{-1, 0, 0}));
  EXPECT_EQ(batch.last, (Ids{14, 15}));
  EXPECT_EQ(tokens_of(batch, 0), tokens_of(batch, 1));
}

TEST(Pack, GivesNoLabelsToANoteWithoutCategory) {
  const PackedBatch batch = pack_one({1, Task::kCategory, 0, {}}, PackMode::kTrain);
  EXPECT_EQ(batch.tokens, (Ids{kBos, 10, 11, 12, 13}));
  EXPECT_EQ(batch.label_offsets, (Ids{0, 0}));
  EXPECT_EQ(batch.last, batch.compression);
}

TEST(Pack, GivesNoLabelsToARowThatIsNotToWrite) {
  const NotePrompt silent{0, Task::kCategory, 0, {}, false}, writing{0, Task::kCategory, 0, {}};
  const PackedBatch batch = pack_one(silent, PackMode::kTrain);
  EXPECT_TRUE(batch.labels.empty());
  EXPECT_EQ(batch.tokens, pack_one(writing, PackMode::kEmbed).tokens);
}

TEST(Pack, MakesNotesRootsWhereNothingIsShared) {
  PromptSet set = prompts();
  set.bos.clear();
  set.category.pieces.erase(set.category.pieces.begin(), set.category.pieces.begin() + 2);
  const std::vector<NotePrompt> rows{{0, Task::kCategory, 0, {}}, {1, Task::kCategory, 0, {}}};
  const PackedBatch batch = pack(set, notes(), rows, PackMode::kEmbed);
  EXPECT_EQ(batch.segment_parents, (Ids{-1, -1}));
  EXPECT_EQ(batch.segment_offsets, (Ids{0, 2, 12}));
  EXPECT_EQ(batch.last, (Ids{11, 1}));
  EXPECT_EQ(batch.root_tokens, (Ids{0, 0}));
}

TEST(Pack, MakesAnEmptyBatchOfNothing) {
  const PackedBatch batch = pack(prompts(), notes(), {}, PackMode::kTrain);
  EXPECT_TRUE(batch.tokens.empty());
  EXPECT_EQ(batch.segment_offsets, Ids{0});
  EXPECT_EQ(batch.label_offsets, Ids{0});
}

TEST(Pack, RefusesWhatDoesNotExist) {
  using Row = NotePrompt;
  EXPECT_THROW(pack_one(Row{2, Task::kCategory, 0, {}}, PackMode::kEmbed), std::out_of_range);
  EXPECT_THROW(pack_one(Row{-1, Task::kCategory, 0, {}}, PackMode::kEmbed), std::out_of_range);
  EXPECT_THROW(pack_one(Row{0, Task::kHashtags, 1, {3}}, PackMode::kTrain), std::out_of_range);
  EXPECT_THROW(pack_one(Row{0, Task::kHashtags, 0, {}}, PackMode::kTrain), std::invalid_argument);
  EXPECT_THROW(pack_one(Row{0, Task::kHashtags, 3, {}}, PackMode::kEmbed), std::invalid_argument);
  EXPECT_THROW(pack_one(Row{0, Task::kHashtags, 2, {1, 1}}, PackMode::kTrain),
               std::invalid_argument);
  EXPECT_THROW(pack_one(Row{0, Task::kHashtags, 2, {1}}, PackMode::kTrain), std::invalid_argument);
}

TEST(PieceSpans, CutTheTrainingPromptWherePiecesMeet) {
  const NotePrompt prompt{0, Task::kHashtags, 1, {1}};
  const std::vector<PieceSpan> spans = piece_spans(prompts(), notes(), prompt);
  const PackedBatch batch = pack_one(prompt, PackMode::kTrain);
  ASSERT_EQ(spans.size(), 9U);
  EXPECT_EQ(spans.front().piece, -1);
  EXPECT_EQ(spans.back().end, std::ssize(batch.tokens));
  for (size_t i = 1; i < spans.size(); ++i) EXPECT_EQ(spans[i].begin, spans[i - 1].end);
  EXPECT_EQ(spans[6].piece, 5);  // [EMB]
  EXPECT_EQ(spans[6].begin, batch.compression[0] + 1);

  EXPECT_EQ(piece_spans(prompts(), notes(), {1, Task::kCategory, 0, {}}).back().end, 5);
}

}  // namespace
}  // namespace notellm
