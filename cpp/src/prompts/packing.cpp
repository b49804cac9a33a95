#include "notellm/prompts/packing.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "notellm/util/check.h"

namespace notellm {
namespace {

using Tokens = std::vector<int32_t>;

bool is_chosen(const NotePrompt& prompt, int64_t hashtag) {
  return std::find(prompt.chosen.begin(), prompt.chosen.end(), hashtag) != prompt.chosen.end();
}

bool has_output(const TokenizedNotes& notes, const NotePrompt& prompt) {
  if (!prompt.writes) return false;
  if (prompt.task == Task::kHashtags) return !prompt.chosen.empty();
  return !notes.categories[prompt.note].empty();
}

using RequireInRange = internal::Require<std::out_of_range>;

void check_note(std::string_view where, const TokenizedNotes& notes, int64_t note) {
  const RequireInRange require(where);
  require(note >= 0 && note < notes.size(), "note must be in [0, ", notes.size(), "), but is ",
          note);
}

void check_chosen(std::string_view where,
                  const TokenizedNotes& notes,
                  const NotePrompt& prompt,
                  PackMode mode) {
  const internal::Require require(where);
  const RequireInRange require_in_range(where);
  const int64_t owned = notes.hashtag_count(prompt.note);
  const auto& chosen = prompt.chosen;
  for (auto hashtag = chosen.begin(); hashtag != chosen.end(); ++hashtag) {
    require_in_range(*hashtag >= 0 && *hashtag < owned, "a chosen hashtag of note ", prompt.note,
                     " must be in [0, ", owned, "), but is ", *hashtag);
    require(std::find(chosen.begin(), hashtag, *hashtag) == hashtag, "note ", prompt.note,
            " must choose each hashtag once, but chooses ", *hashtag, " twice");
  }
  require(mode != PackMode::kTrain || std::ssize(chosen) == prompt.count,
          "a hashtag prompt for training must choose as many hashtags as it asks for, but note ",
          prompt.note, " asks for ", prompt.count, " and chooses ", chosen.size());
}

// Lays out the pieces of one note's prompt.
class Writer {
 public:
  Writer(const PromptSet& set, const TokenizedNotes& notes, const NotePrompt& prompt)
      : set_(set), notes_(notes), prompt_(prompt) {}

  void append(std::span<const Piece> pieces, Tokens& tokens) const {
    for (const Piece& piece : pieces) append(piece, tokens);
  }

  void append(const Piece& piece, Tokens& tokens) const {
    switch (piece.kind) {
      case PieceKind::kText:
      case PieceKind::kEmb:
        return append(piece.ids, tokens);
      case PieceKind::kTitle:
        return append(notes_.titles[prompt_.note], tokens);
      case PieceKind::kContent:
        return append(notes_.contents[prompt_.note], tokens);
      case PieceKind::kCategory:
        return append(notes_.categories[prompt_.note], tokens);
      case PieceKind::kTopics:
        return append_topics(tokens);
      case PieceKind::kHashtags:
        return append_chosen(tokens);
    }
  }

  static void append(std::span<const int32_t> ids, Tokens& tokens) {
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }

 private:
  void append_topics(Tokens& tokens) const {
    if (prompt_.task == Task::kHashtags && prompt_.chosen.empty()) return;
    bool is_first = true;
    for (int64_t i = 0; i < notes_.hashtag_count(prompt_.note); ++i) {
      if (!is_chosen(prompt_, i)) append_hashtag(i, is_first, tokens);
    }
  }

  void append_chosen(Tokens& tokens) const {
    bool is_first = true;
    for (const int32_t i : prompt_.chosen) append_hashtag(i, is_first, tokens);
  }

  void append_hashtag(int64_t number, bool& is_first, Tokens& tokens) const {
    if (!is_first) append(set_.separator, tokens);
    is_first = false;
    append(notes_.hashtag(prompt_.note, number), tokens);
  }

  const PromptSet& set_;
  const TokenizedNotes& notes_;
  const NotePrompt& prompt_;
};

int64_t length(const Tokens& tokens) { return static_cast<int64_t>(tokens.size()); }

std::span<const Piece> pieces(const PromptTemplate& form, int64_t begin, int64_t end) {
  return std::span(form.pieces).subspan(begin, end - begin);
}

// Lays out one prompt after the other.
class Layout {
 public:
  Layout(const PromptSet& set, const TokenizedNotes& notes, PackMode mode, std::string_view where)
      : set_(set), notes_(notes), mode_(mode), where_(where), parts_(set.hashtags.size() + 1) {}

  void add(const NotePrompt& prompt) {
    check_note(where_, notes_, prompt.note);
    const PromptTemplate& form = template_of(set_, prompt.task, prompt.count, where_);
    if (prompt.task == Task::kHashtags) check_chosen(where_, notes_, prompt, mode_);
    const TemplateParts& parts = parts_of(prompt, form);
    const Writer writer(set_, notes_, prompt);
    Tokens& tokens = made_.tokens.ids;
    const int64_t begin = made_.tokens.offsets.back();

    Writer::append(set_.bos, tokens);
    writer.append(pieces(form, 0, parts.first_slot), tokens);
    made_.root_tokens.push_back(length(tokens) - begin);
    const int64_t compressed = parts.compression + (set_.reads_emb ? 1 : 0);  // one past its piece
    writer.append(pieces(form, parts.first_slot, compressed), tokens);
    made_.compression.push_back(length(tokens) - begin - 1);
    const bool is_trained = mode_ == PackMode::kTrain && has_output(notes_, prompt);
    if (is_trained || mode_ == PackMode::kGenerate) {
      writer.append(pieces(form, compressed, parts.output), tokens);
    }
    if (is_trained) {
      const int64_t output = length(tokens);
      writer.append(pieces(form, parts.output, std::ssize(form.pieces)), tokens);
      made_.labels.insert(made_.labels.end(), tokens.begin() + output, tokens.end());
      made_.labels.push_back(set_.eos);
    }
    made_.label_offsets.push_back(std::ssize(made_.labels));
    made_.tokens.offsets.push_back(length(tokens));
  }

  PromptSequences take() { return std::move(made_); }

 private:
  const TemplateParts& parts_of(const NotePrompt& prompt, const PromptTemplate& form) {
    auto& parts = parts_[prompt.task == Task::kCategory ? 0 : prompt.count];
    if (!parts) parts = template_parts(form, prompt.task);
    return *parts;
  }

  const PromptSet& set_;
  const TokenizedNotes& notes_;
  const PackMode mode_;
  const std::string_view where_;
  std::vector<std::optional<TemplateParts>> parts_;  // 0: category; j: j hashtags
  PromptSequences made_;
};

// Fills in where the prompts' special tokens lie in the forest.
void find_positions(const PromptSequences& prompts, PackedBatch& batch) {
  for (int64_t i = 0; i < prompts.tokens.size(); ++i) {
    const auto path = path_to(batch.segment_offsets, batch.segment_parents, batch.last[i]);
    batch.compression.push_back(path[prompts.compression[i]]);
    const int64_t labels = prompts.label_offsets[i + 1] - prompts.label_offsets[i];
    batch.label_positions.insert(batch.label_positions.end(), path.end() - labels, path.end());
  }
}

}  // namespace

PromptSequences lay_out(const PromptSet& set,
                        const TokenizedNotes& notes,
                        std::span<const NotePrompt> prompts,
                        PackMode mode,
                        std::string_view where) {
  Layout layout(set, notes, mode, where);
  for (const NotePrompt& prompt : prompts) layout.add(prompt);
  return layout.take();
}

PackedBatch pack(const PromptSet& set,
                 const TokenizedNotes& notes,
                 std::span<const NotePrompt> prompts,
                 PackMode mode) {
  PromptSequences made = lay_out(set, notes, prompts, mode, "pack");
  PrefixForest forest =
      prefix_forest(made.tokens.spans(), {.own_tail = mode == PackMode::kGenerate ? 1 : 0});
  PackedBatch batch;
  batch.tokens = std::move(forest.tokens);
  batch.segment_offsets = std::move(forest.segment_offsets);
  batch.segment_parents = std::move(forest.segment_parents);
  batch.last = std::move(forest.last);
  find_positions(made, batch);
  batch.root_tokens = std::move(made.root_tokens);
  batch.labels = std::move(made.labels);
  batch.label_offsets = std::move(made.label_offsets);
  return batch;
}

std::vector<PieceSpan> piece_spans(const PromptSet& set,
                                   const TokenizedNotes& notes,
                                   const NotePrompt& prompt) {
  constexpr const char* where = "piece_spans";
  const PromptSequences made = lay_out(set, notes, {&prompt, 1}, PackMode::kTrain, where);
  const int64_t total = length(made.tokens.ids);
  const PromptTemplate& form = template_of(set, prompt.task, prompt.count, where);
  const Writer writer(set, notes, prompt);
  Tokens tokens(set.bos.begin(), set.bos.end());
  std::vector<PieceSpan> spans;
  if (!tokens.empty()) spans.push_back({-1, 0, length(tokens)});
  for (size_t i = 0; i < form.pieces.size() && length(tokens) < total; ++i) {
    const int64_t begin = length(tokens);
    writer.append(form.pieces[i], tokens);
    spans.push_back({static_cast<int64_t>(i), begin, length(tokens)});
  }
  return spans;
}

}  // namespace notellm
