#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/prompts/prefix_forest.h"
#include "notellm/prompts/template.h"
#include "notellm/prompts/tokens.h"

namespace notellm {

/// One note and what the model is asked to write about it: one row of a batch.
struct NotePrompt {
  int64_t note = 0;  ///< index into TokenizedNotes
  Task task = Task::kCategory;
  int count = 0;                ///< hashtag task: j, how many hashtags are asked for
  std::vector<int32_t> chosen;  ///< hashtag task: the hashtags to write (indices within the note,
                                ///< in order); empty when the model has to find them
  bool writes = true;           ///< whether training teaches it to write its output
};

/// Notes and the prompts for them, as embedding and generation read them. It refers to both and
/// owns neither.
struct PromptedNotes {
  const PromptSet& prompts;
  const TokenizedNotes& notes;
};

/// How much of a prompt is laid out.
enum class PackMode {
  kTrain,     ///< up to the last output token; EOS is only a label, its own state is not needed
  kEmbed,     ///< up to the compressed position, whose state is the embedding: the token before
              ///< <emb>, or <emb> itself
  kGenerate,  ///< up to the token before the output slot, where decoding begins
};

/// n prompts, each as one token sequence of its own.
struct PromptSequences {
  TokenLists tokens;                 ///< n sequences
  std::vector<int64_t> root_tokens;  ///< (n) how many tokens come before the first slot: they are
                                     ///< the same for every note with this template
  std::vector<int64_t> compression;  ///< (n) position in its sequence: the token whose state is the
                                     ///< embedding, just before <emb> or <emb> itself
  std::vector<int64_t> labels;       ///< (M) what the note must write, then EOS
  std::vector<int64_t> label_offsets{0};  ///< (n+1) the states of sequence i's last tokens must
                                          ///< predict labels [offsets[i], offsets[i + 1])
};

/// Lays prompts out as tokens.
///
/// A slot is filled with the note's ids; hashtags are joined by the set's separator. In the
/// category prompt <topics> is all hashtags. In the hashtag prompt it is the hashtags that are not
/// `chosen`, and empty if none is chosen: the hashtags to write are never shown, and at evaluation
/// none is. kTrain: a note's labels are its output tokens and EOS, each predicted from the state of
/// the token before it. A note without category that gets the category task has nothing to write,
/// nor has one that is not to write: it has no labels and ends at the compressed position.
///
/// @param set      valid (see `validate`).
/// @param notes    valid (see `validate`).
/// @param prompts  the n rows; the same note may come several times.
/// @param where    begins the messages: what the user called.
/// @throws std::out_of_range      if a note or a chosen hashtag does not exist.
/// @throws std::invalid_argument  if a count has no template, if a hashtag is chosen twice, or if
///                                the number chosen in kTrain is not `count`.
///
/// Cost: O(tokens); one thread. Depends on its arguments only.
PromptSequences lay_out(const PromptSet& set,
                        const TokenizedNotes& notes,
                        std::span<const NotePrompt> prompts,
                        PackMode mode,
                        std::string_view where = "lay_out");

/// n prompts as one array of T tokens, cut into S segments that form a forest.
///
/// A segment attends to itself causally and to its ancestors fully, and its positions continue
/// where its parent ends. Common prefixes of the prompts, from a word of the instruction to a whole
/// prompt, are laid out once (`prefix_forest`): the prompts then share these tokens, and the
/// gradients of all their losses add up there. The indices below are in the order of the prompts,
/// not of the tokens: they need not ascend, and may repeat.
struct PackedBatch {
  std::vector<int64_t> tokens;  ///< (T)
  std::vector<int64_t> segment_offsets{
      0};                                ///< (S+1) segment s is tokens [offsets[s], offsets[s + 1])
  std::vector<int64_t> segment_parents;  ///< (S) -1 or a smaller segment number
  std::vector<int64_t> root_tokens;      ///< (n) number of tokens before the note's first slot
  std::vector<int64_t> compression;      ///< (n) index into tokens: the compressed position
  std::vector<int64_t> last;  ///< (n) index into tokens: the note's last token; see `path_to`
  std::vector<int64_t> label_positions;  ///< (M) indices into tokens
  std::vector<int64_t> labels;  ///< (M) the state at label_positions[m] must predict labels[m]
  std::vector<int64_t> label_offsets{0};  ///< (n+1) note i owns labels [offsets[i], offsets[i + 1])
};

/// Lays prompts out (`lay_out`, with its errors) and shares their common prefixes. kGenerate: every
/// note's last token is a segment of its own, a leaf that can grow.
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

/// The pieces of one note's training prompt, in order: the tokens of `lay_out`, cut where pieces
/// meet. Used to explain prompts to users. Errors as in `lay_out`.
std::vector<PieceSpan> piece_spans(const PromptSet& set,
                                   const TokenizedNotes& notes,
                                   const NotePrompt& prompt);

}  // namespace notellm
