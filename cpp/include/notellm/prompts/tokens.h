#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace notellm {

/// Many short token lists in one array: list i is `ids[offsets[i]] ... ids[offsets[i + 1] - 1]`.
///
/// Tokenised text is kept in this form: written once, then read by every training step.
struct TokenLists {
  std::vector<int32_t> ids;         ///< all lists, one after the other
  std::vector<int64_t> offsets{0};  ///< size() + 1 ascending indices into `ids`, the first 0

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }

  /// List i, unchecked: 0 <= i < size().
  std::span<const int32_t> operator[](int64_t i) const {
    return std::span(ids).subspan(offsets[i], offsets[i + 1] - offsets[i]);
  }

  void push_back(std::span<const int32_t> list);

  /// All lists, in order; they point into `ids`.
  std::vector<std::span<const int32_t>> spans() const;
};

/// @throws std::invalid_argument  unless the offsets begin with 0, never fall, and end at `size`;
///                                the message begins with `where`.
void check_offsets(std::string_view where, std::span<const int64_t> offsets, int64_t size);

/// The text of n notes, tokenised and truncated once: everything a prompt can show of a note.
struct TokenizedNotes {
  TokenLists titles;      ///< n lists; an empty one is an empty title
  TokenLists contents;    ///< n lists
  TokenLists categories;  ///< n lists; an empty one is a note without category
  TokenLists hashtags;    ///< the hashtags of all notes, one after the other
  std::vector<int64_t> hashtag_offsets{
      0};  ///< n + 1; note i owns hashtags [offsets[i], offsets[i + 1])

  int64_t size() const { return titles.size(); }

  int64_t hashtag_count(int64_t note) const {
    return hashtag_offsets[note + 1] - hashtag_offsets[note];
  }

  /// A note's hashtag with index `number`, unchecked: 0 <= number < hashtag_count(note).
  std::span<const int32_t> hashtag(int64_t note, int64_t number) const {
    return hashtags[hashtag_offsets[note] + number];
  }
};

/// @throws std::invalid_argument  unless all fields describe the same number of notes and all
///                                offsets are valid (`check_offsets`).
void validate(const TokenizedNotes& notes);

}  // namespace notellm
