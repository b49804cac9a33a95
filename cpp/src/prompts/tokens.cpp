#include "notellm/prompts/tokens.h"

#include <algorithm>
#include <stdexcept>

#include "notellm/util/check.h"

namespace notellm {

void TokenLists::push_back(std::span<const int32_t> list) {
  ids.insert(ids.end(), list.begin(), list.end());
  offsets.push_back(static_cast<int64_t>(ids.size()));
}

std::vector<std::span<const int32_t>> TokenLists::spans() const {
  std::vector<std::span<const int32_t>> spans;
  spans.reserve(size());
  for (int64_t i = 0; i < size(); ++i) spans.push_back((*this)[i]);
  return spans;
}

void check_offsets(std::string_view where, std::span<const int64_t> offsets, int64_t size) {
  const internal::Require require(where);
  require(!offsets.empty() && offsets.front() == 0, "offsets must begin with 0");
  require(std::is_sorted(offsets.begin(), offsets.end()), "offsets must never fall");
  require(offsets.back() == size, "offsets must end at ", size, ", but end at ", offsets.back());
}

void validate(const TokenizedNotes& notes) {
  const auto check_lists = [](std::string_view name, const TokenLists& lists) {
    check_offsets(internal::joined("TokenizedNotes.", name), lists.offsets, std::ssize(lists.ids));
  };
  check_lists("titles", notes.titles);
  check_lists("contents", notes.contents);
  check_lists("categories", notes.categories);
  check_lists("hashtags", notes.hashtags);
  check_offsets("TokenizedNotes.hashtag_offsets", notes.hashtag_offsets, notes.hashtags.size());

  const auto check_size = [&](std::string_view name, int64_t size) {
    internal::require(size == notes.size(), "TokenizedNotes", name, " must describe ", notes.size(),
                      " notes, but describe ", size);
  };
  check_size("contents", notes.contents.size());
  check_size("categories", notes.categories.size());
  check_size("hashtag_offsets", std::ssize(notes.hashtag_offsets) - 1);
}

}  // namespace notellm
