#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/prompts/prefix_forest.h"
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

/// Notes and what they are asked with: what embedding and generation read. It refers to both and
/// owns neither.
struct PromptedNotes {
  const PromptSet& prompts;
  const TokenizedNotes& notes;
};

/// How much of a prompt is laid out.
enum class PackMode {
  kTrain,     ///< up to the last output token; EOS is a label only, nobody reads its own state
  kEmbed,     ///< up to the compressed position, whose state is the embedding: the token before
              ///< <emb>, or <emb>
  kGenerate,  ///< up to the token before the output slot, where decoding begins
};

/// n prompts, each as one token sequence of its own.
struct PromptSequences {
  TokenLists tokens;                 ///< n sequences
  std::vector<int64_t> root_tokens;  ///< (n) how many come before the first slot: the same ones
                                     ///< for every note of the template
  std::vector<int64_t> compression;  ///< (n) position in its sequence: the token whose state is the
                                     ///< embedding, just before <emb> or <emb> itself
  std::vector<int64_t> labels;       ///< (M) what the note must write, then EOS
  std::vector<int64_t> label_offsets{0};  ///< (n+1) the states of sequence i's last tokens must
                                          ///< predict labels [offsets[i], offsets[i + 1])
};

/// Lays prompts out as tokens.
///
/// A slot takes the note's ids; hashtags are joined by the set's separator. In the category prompt
/// <topics> are all hashtags. In the hashtag prompt they are those that are not `chosen`, and none
/// when none are chosen: what is to be written is never shown, and nothing is shown at evaluation.
/// kTrain: a note's labels are its output tokens and EOS, each predicted by the state one token
/// before. A note without category that takes the category task has nothing to write: it has no
/// labels and ends at the compressed position.
///
/// @param set      valid (see `validate`).
/// @param notes    valid (see `validate`).
/// @param prompts  the n rows; the same note may come several times.
/// @throws std::out_of_range      if a note or a chosen hashtag does not exist.
/// @throws std::invalid_argument  if a count has no template, if a hashtag is chosen twice, or if
///                                kTrain does not choose exactly `count` hashtags.
///
/// Cost: O(tokens); one thread. Depends on its arguments only.
PromptSequences lay_out(const PromptSet& set,
                        const TokenizedNotes& notes,
                        std::span<const NotePrompt> prompts,
                        PackMode mode);

/// n prompts as a flat run of T tokens, cut into S segments that form a forest.
///
/// A segment attends to itself causally and to its ancestors fully, and its positions continue
/// where its parent ends. Prefixes that prompts have in common, from a word of the instruction to a
/// whole prompt, are laid out once (`prefix_forest`): the prompts of a batch then share positions,
/// and the gradients of all their losses add up there. The indices below follow the order of the
/// prompts, not that of the tokens: they need not ascend, and may repeat.
struct PackedBatch {
  std::vector<int64_t> tokens;  ///< (T)
  std::vector<int64_t> segment_offsets{
      0};                                ///< (S+1) segment s is tokens [offsets[s], offsets[s + 1])
  std::vector<int64_t> segment_parents;  ///< (S) -1 or a smaller segment number
  std::vector<int64_t> root_tokens;      ///< (n) tokens of the note's path before its first slot
  std::vector<int64_t> compression;      ///< (n) index into tokens: the compressed position
  std::vector<int64_t> last;  ///< (n) index into tokens: the note's last token; see `path_to`
  std::vector<int64_t> label_positions;  ///< (M) indices into tokens
  std::vector<int64_t> labels;  ///< (M) the state at label_positions[m] must predict labels[m]
  std::vector<int64_t> label_offsets{0};  ///< (n+1) note i owns labels [offsets[i], offsets[i + 1])
};

/// Lays prompts out (`lay_out`, with its errors) and shares what they have in common. kGenerate:
/// every note's last token is a segment of its own, a leaf that can grow.
///
/// Cost: O(N log n) for N tokens before sharing; one thread. Depends on its arguments only.
PackedBatch pack(const PromptSet& set,
                 const TokenizedNotes& notes,
                 std::span<const NotePrompt> prompts,
                 PackMode mode);

/// Where a piece of one note's prompt lies in its tokens.
struct PieceSpan {
  int64_t piece;  ///< index into the template's pieces; -1 is BOS
  int64_t begin;  ///< position of its first token
  int64_t end;    ///< one past the last token
};

/// The pieces of the training prompt of one note, in order: what `lay_out` lays out for it, cut
/// where pieces meet. For explanations. Errors as `lay_out`.
std::vector<PieceSpan> piece_spans(const PromptSet& set,
                                   const TokenizedNotes& notes,
                                   const NotePrompt& prompt);

}  // namespace notellm
