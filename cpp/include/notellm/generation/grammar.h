#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "notellm/prompts/template.h"
#include "notellm/prompts/tokens.h"

namespace notellm {

/// Which outputs are allowed when the categories or hashtags are known: one to `max_values`
/// distinct values with the prompt's separator between them, then the text that closes the prompt,
/// then the EOS.
///
/// One value may be a prefix of another, and may begin with the same tokens as the separator, so an
/// output can often be read in several ways: all of them are followed. Every prefix that is allowed
/// can be completed.
class OutputGrammar {
 public:
  /// @param values      at least one; distinct, none of them empty.
  /// @param task        the task whose prompt gives the separator and the closing text.
  /// @param max_values  most values in an output, as many as the prompt asks for; 1 for categories.
  /// @throws std::invalid_argument  if a value is empty or repeated, there is none, or no prompt
  ///                                asks for `max_values` values.
  OutputGrammar(const PromptSet& prompts, TokenLists values, Task task, int64_t max_values);

  /// The tokens that may follow an output, ascending; with the EOS if it may end here. Empty if
  /// there is none: every value is banned, or needs more tokens than remain.
  ///
  /// @param output     an allowed prefix, without EOS.
  /// @param banned     indices of values that may not be written.
  /// @param remaining  how many tokens may still come before the EOS.
  ///
  /// Cost: O(branches log values) for the trie branches below the output, and O(banned) for each.
  std::vector<int32_t> next(std::span<const int32_t> output,
                            std::span<const int64_t> banned,
                            int64_t remaining) const;

  /// The smallest and the largest token that an output may have.
  std::pair<int32_t, int32_t> token_range() const;

  /// How many values there are.
  int64_t value_count() const { return values_.size(); }

  /// Number of tokens of the shortest output, without EOS.
  int64_t shortest() const;

  /// Number of tokens of the longest value together with the closing text.
  int64_t longest_value() const;

 private:
  // One way to read an output so far.
  struct Reading {
    enum Part { kValue, kSeparator, kClosing } part = kValue;
    int64_t first, end;         // the range of sorted values that match so far
    int64_t depth = 0;          // tokens read of this part
    std::vector<int64_t> used;  // values written before, as places in the sorted order
  };
  struct Search;

  std::span<const int32_t> sorted(int64_t place) const { return values_[order_[place]]; }
  std::vector<Reading> completed(const Reading& reading, const Search& search) const;
  void follow(const Reading& reading,
              int32_t token,
              const Search& search,
              std::vector<Reading>& readings) const;
  void continuations(const Reading& reading,
                     const Search& search,
                     int64_t remaining,
                     std::vector<int32_t>& tokens) const;
  int64_t branch_end(const Reading& reading, int64_t place) const;

  TokenLists values_;
  std::vector<int64_t> order_;  // indices of the values, sorted by their tokens
  std::vector<int64_t> place_;  // by value: its place in this order
  std::vector<int32_t> separator_, closing_;
  int32_t eos_;
  int64_t max_values_;
};

}  // namespace notellm
