#include "notellm/prompts/packing.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "notellm/util/check.h"

namespace notellm {
namespace {

using Tokens = std::vector<int64_t>;

bool is_chosen(const NotePrompt& prompt, int64_t hashtag) {
  return std::find(prompt.chosen.begin(), prompt.chosen.end(), hashtag) != prompt.chosen.end();
}

bool has_output(const TokenizedNotes& notes, const NotePrompt& prompt) {
  if (prompt.task == Task::kHashtags) return !prompt.chosen.empty();
  return !notes.categories[prompt.note].empty();
}

template <typename Error, typename... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) internal::throw_error<Error>("pack", parts...);
}

void check_note(const TokenizedNotes& notes, int64_t note) {
  require<std::out_of_range>(note >= 0 && note < notes.size(), "note must be in [0, ", notes.size(),
                             "), but is ", note);
}

void check_chosen(const TokenizedNotes& notes, const NotePrompt& prompt, PackMode mode) {
  const int64_t owned = notes.hashtag_count(prompt.note);
  const auto& chosen = prompt.chosen;
  for (auto hashtag = chosen.begin(); hashtag != chosen.end(); ++hashtag) {
    require<std::out_of_range>(*hashtag >= 0 && *hashtag < owned, "a chosen hashtag of note ",
                               prompt.note, " must be in [0, ", owned, "), but is ", *hashtag);
    require<std::invalid_argument>(std::find(chosen.begin(), hashtag, *hashtag) == hashtag, "note ",
                                   prompt.note, " must choose each hashtag once, but chooses ",
                                   *hashtag, " twice");
  }
  require<std::invalid_argument>(
      mode != PackMode::kTrain || std::ssize(chosen) == prompt.count,
      "a hashtag prompt for training must choose as many hashtags as it asks for, but note ",
      prompt.note, " asks for ", prompt.count, " and chooses ", chosen.size());
}

// Lays out pieces for one note of one set.
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
      case PieceKind::kCompression:
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

// A template that the batch uses.
struct UsedTemplate {
  const PromptTemplate& form;
  TemplateParts parts;
  int64_t root;  // its segment, -1 if it has no tokens
};

// Builds a batch segment by segment.
class BatchBuilder {
 public:
  BatchBuilder(const PromptSet& set, const TokenizedNotes& notes, PackMode mode)
      : set_(set), notes_(notes), mode_(mode), used_(set.hashtags.size() + 1) {}

  // Checks the prompt and lays out the root of its template, unless an earlier prompt did.
  void add_root(const NotePrompt& prompt) {
    check_note(notes_, prompt.note);
    const PromptTemplate& form = template_of(set_, prompt.task, prompt.count);
    if (prompt.task == Task::kHashtags) check_chosen(notes_, prompt, mode_);
    auto& used = used_[template_number(prompt)];
    if (used) return;

    const TemplateParts parts = template_parts(form, prompt.task);
    Writer::append(set_.bos, batch_.tokens);
    Writer(set_, notes_, prompt).append(pieces(form, 0, parts.first_slot), batch_.tokens);
    const bool is_empty = length(batch_.tokens) == batch_.segment_offsets.back();
    used.emplace(UsedTemplate{form, parts, is_empty ? -1 : close_segment(-1)});
  }

  void add_note(const NotePrompt& prompt) {
    const auto& [form, parts, root] = *used_[template_number(prompt)];
    const Writer writer(set_, notes_, prompt);
    Tokens& tokens = batch_.tokens;

    writer.append(pieces(form, parts.first_slot, parts.compression), tokens);
    batch_.compression.push_back(length(tokens) - 1);
    const bool is_trained = mode_ == PackMode::kTrain && has_output(notes_, prompt);
    if (is_trained || mode_ == PackMode::kGenerate) {
      writer.append(pieces(form, parts.compression, parts.output), tokens);
    }
    if (is_trained) {
      const int64_t begin = length(tokens);
      writer.append(pieces(form, parts.output, std::ssize(form.pieces)), tokens);
      add_labels(begin);
    }
    batch_.label_offsets.push_back(length(batch_.labels));
    batch_.last.push_back(length(tokens) - 1);
    close_segment(root);
  }

  PackedBatch take() { return std::move(batch_); }

 private:
  static size_t template_number(const NotePrompt& prompt) {
    return prompt.task == Task::kCategory ? 0 : prompt.count;
  }

  // The output is tokens [begin, now): each of them, and EOS, is predicted one token earlier.
  void add_labels(int64_t begin) {
    const Tokens& tokens = batch_.tokens;
    for (int64_t t = begin; t <= length(tokens); ++t) {
      batch_.label_positions.push_back(t - 1);
      batch_.labels.push_back(t < length(tokens) ? tokens[t] : set_.eos);
    }
  }

  int64_t close_segment(int64_t parent) {
    batch_.segment_offsets.push_back(length(batch_.tokens));
    batch_.segment_parents.push_back(parent);
    return length(batch_.segment_parents) - 1;
  }

  const PromptSet& set_;
  const TokenizedNotes& notes_;
  const PackMode mode_;
  std::vector<std::optional<UsedTemplate>> used_;  // 0: category; j: j hashtags
  PackedBatch batch_;
};

}  // namespace

PackedBatch pack(const PromptSet& set,
                 const TokenizedNotes& notes,
                 std::span<const NotePrompt> prompts,
                 PackMode mode) {
  BatchBuilder builder(set, notes, mode);
  for (const NotePrompt& prompt : prompts) builder.add_root(prompt);
  for (const NotePrompt& prompt : prompts) builder.add_note(prompt);
  return builder.take();
}

std::vector<PieceSpan> piece_spans(const PromptSet& set,
                                   const TokenizedNotes& notes,
                                   const NotePrompt& prompt) {
  const int64_t total = length(pack(set, notes, {&prompt, 1}, PackMode::kTrain).tokens);
  const PromptTemplate& form = template_of(set, prompt.task, prompt.count);
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
