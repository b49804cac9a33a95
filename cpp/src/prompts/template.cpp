#include "notellm/prompts/template.h"

#include <algorithm>

#include "notellm/util/check.h"

namespace notellm {
namespace {

constexpr internal::Require<ConfigError> require("prompt");

bool is_input(PieceKind kind) {
  return kind == PieceKind::kTitle || kind == PieceKind::kTopics || kind == PieceKind::kContent;
}

// The index of the only piece of a kind.
int64_t find_only(std::span<const PieceKind> kinds, PieceKind kind) {
  const auto count = std::count(kinds.begin(), kinds.end(), kind);
  require(count == 1, "there must be exactly one ", piece_name(kind), ", but there are ", count);
  return std::find(kinds.begin(), kinds.end(), kind) - kinds.begin();
}

void check_pieces(const PromptTemplate& prompt, Task task) {
  template_parts(prompt, task);
  for (const Piece& piece : prompt.pieces) {
    const auto tokens = piece.ids.size();
    if (piece.kind == PieceKind::kText) {
      require(tokens > 0, "a piece of text must have at least one token, but has none");
    } else {
      const size_t expected = piece.kind == PieceKind::kEmb ? 1 : 0;
      require(tokens == expected, piece_name(piece.kind), " must bring ", expected,
              " tokens of its own, but brings ", tokens);
    }
  }
}

}  // namespace

std::string_view piece_name(PieceKind kind) {
  switch (kind) {
    case PieceKind::kText:
      return "text";
    case PieceKind::kTitle:
      return "<title>";
    case PieceKind::kTopics:
      return "<topics>";
    case PieceKind::kContent:
      return "<content>";
    case PieceKind::kEmb:
      return "<emb>";
    case PieceKind::kCategory:
      return "<category>";
    case PieceKind::kHashtags:
      return "<hashtags>";
  }
  return "?";
}

TemplateParts template_parts(std::span<const PieceKind> kinds, Task task) {
  const bool is_category = task == Task::kCategory;
  const PieceKind own = is_category ? PieceKind::kCategory : PieceKind::kHashtags;
  const PieceKind foreign = is_category ? PieceKind::kHashtags : PieceKind::kCategory;
  require(std::find(kinds.begin(), kinds.end(), foreign) == kinds.end(), piece_name(foreign),
          " must not be in a prompt whose output is ", piece_name(own));

  const int64_t compression = find_only(kinds, PieceKind::kEmb);
  const int64_t output = find_only(kinds, own);
  require(output > compression, piece_name(own), " must come after <emb>, but comes before it");
  require(compression > 0 && kinds[compression - 1] == PieceKind::kText,
          "a piece of text must come just before <emb>, since the state there is the embedding");

  const int64_t first_slot = std::find_if(kinds.begin(), kinds.end(), is_input) - kinds.begin();
  require(first_slot < compression,
          "at least one of <title>, <topics> and <content> must come before <emb>, but none does");
  for (const PieceKind kind : kinds.subspan(compression)) {
    require(!is_input(kind), piece_name(kind), " must come before <emb>, but comes after it");
  }
  return {first_slot, compression, output};
}

TemplateParts template_parts(const PromptTemplate& prompt, Task task) {
  std::vector<PieceKind> kinds;
  kinds.reserve(prompt.pieces.size());
  for (const Piece& piece : prompt.pieces) kinds.push_back(piece.kind);
  return template_parts(kinds, task);
}

const PromptTemplate& template_of(const PromptSet& prompts,
                                  Task task,
                                  int count,
                                  std::string_view where) {
  if (task == Task::kCategory) return prompts.category;
  const auto largest = static_cast<int>(prompts.hashtags.size());
  internal::require(count >= 1 && count <= largest, where,
                    "the number of hashtags asked for must be in [1, ", largest, "], but is ",
                    count);
  return prompts.hashtags[count - 1];
}

void validate(const PromptSet& prompts) {
  check_pieces(prompts.category, Task::kCategory);
  require(!prompts.hashtags.empty(), "there must be a hashtag prompt for j = 1, but there is none");
  for (const PromptTemplate& prompt : prompts.hashtags) check_pieces(prompt, Task::kHashtags);
}

}  // namespace notellm
