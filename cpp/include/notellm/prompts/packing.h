#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/prompts/template.h"
#include "notellm/prompts/tokens.h"

namespace notellm {

/// One note and what it is asked: one row of a batch.
struct NotePrompt {
  int64_t note = 0;  ///< index into TokenizedNotes
  Task task = Task::kCategory;
  int count = 0;                ///< hashtag task: j, how many hashtags are asked for
  std::vector<int32_t> chosen;  ///< hashtag task: the hashtags to write (numbers within the note,
                                ///< in order); empty when the model is to find them
};

/// How much of a prompt is laid out.
enum class PackMode {
  kTrain,     ///< up to the last output token; EOS is a label only, nobody reads its own state
  kEmbed,     ///< up to the token before <emb>, whose state is the embedding
  kGenerate,  ///< up to the token before the output slot, where decoding begins
};

/// n prompts as a flat run of T tokens, cut into S segments that form a forest.
///
/// A segment attends to itself causally and to its ancestors fully, and its positions continue
/// where its parent ends. The tokens that all notes of one template begin with are one root
/// segment; each note is one child of its template's root (or a root itself where the template
/// begins with a slot and there is no BOS). Roots come first, then the notes in their order.
struct PackedBatch {
  std::vector<int64_t> tokens;  ///< (T)
  std::vector<int64_t> segment_offsets{
      0};                                ///< (S+1) segment s is tokens [offsets[s], offsets[s + 1])
  std::vector<int64_t> segment_parents;  ///< (S) -1 or a smaller segment number
  std::vector<int64_t> compression;      ///< (n) index into tokens: the token just before <emb>
  std::vector<int64_t> last;             ///< (n) index into tokens: the note's last token
  std::vector<int64_t> label_positions;  ///< (M) ascending indices into tokens
  std::vector<int64_t> labels;  ///< (M) the state at label_positions[m] must predict labels[m]
  std::vector<int64_t> label_offsets{0};  ///< (n+1) note i owns labels [offsets[i], offsets[i + 1])
};

/// Lays prompts out as tokens.
///
/// A slot takes the note's ids; hashtags are joined by the set's separator. In the category prompt
/// <topics> are all hashtags. In the hashtag prompt they are those that are not `chosen`, and none
/// when none are chosen: what is to be written is never shown, and nothing is shown at evaluation.
/// kTrain: a note's labels are its output tokens and EOS, each predicted by the state one token
/// before. A note without category that takes the category task has nothing to write: it has no
/// labels and ends at the token before <emb>.
///
/// @param set      valid (see `validate`).
/// @param notes    valid (see `validate`).
/// @param prompts  the n rows; the same note may come several times.
/// @throws std::out_of_range      if a note or a chosen hashtag does not exist.
/// @throws std::invalid_argument  if a count has no template, if a hashtag is chosen twice, or if
///                                kTrain does not choose exactly `count` hashtags.
///
/// Cost: O(T); one thread. Depends on its arguments only.
PackedBatch pack(const PromptSet& set,
                 const TokenizedNotes& notes,
                 std::span<const NotePrompt> prompts,
                 PackMode mode);

/// Where a piece of one note's prompt lies in its tokens.
struct PieceSpan {
  int64_t piece;  ///< index into the template's pieces; -1 is BOS
  int64_t begin;  ///< first token, counted from the root's first
  int64_t end;    ///< one past the last token
};

/// The pieces of the training prompt of one note, in order: what `pack` lays out for it, root and
/// child one after the other, cut where pieces meet. For explanations. Errors as `pack`.
std::vector<PieceSpan> piece_spans(const PromptSet& set,
                                   const TokenizedNotes& notes,
                                   const NotePrompt& prompt);

}  // namespace notellm
