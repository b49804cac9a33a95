#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "notellm/prompts/template.h"
#include "notellm/prompts/tokens.h"

namespace notellm {

/// Which outputs are allowed where categories or hashtags are known: one to `max_values` distinct
/// values with the prompt's separator between them, then the text that closes the prompt, then the
/// EOS.
///
/// Values may begin with each other, and with what the separator begins with: every reading of an
/// output is followed. No allowed beginning is a dead end.
class OutputGrammar {
 public:
  /// @param values      distinct, none of them empty; at least one.
  /// @param task        whose prompt: its separator and closing text.
  /// @param max_values  how many may be written, as the prompt asks; 1 for categories.
  /// @throws std::invalid_argument  if a value is empty or repeated, there is none, or no prompt
  ///                                asks for so many.
  OutputGrammar(const PromptSet& prompts, TokenLists values, Task task, int64_t max_values);

  /// The tokens that may follow an output, ascending; the EOS where it may end. Empty if there is
  /// none: every value is banned, or needs more tokens.
  ///
  /// @param output     an allowed beginning, without EOS.
  /// @param banned     numbers of values that may not be written.
  /// @param remaining  most tokens to come before the EOS.
  ///
  /// Cost: O(branches log values) for the branches below the output, and O(banned) for each.
  std::vector<int32_t> next(std::span<const int32_t> output,
                            std::span<const int64_t> banned,
                            int64_t remaining) const;

  /// The smallest and the largest token that an output may have.
  std::pair<int32_t, int32_t> token_range() const;

  /// How many values there are.
  int64_t value_count() const { return values_.size(); }

  /// Tokens of the shortest output, without EOS.
  int64_t shortest() const;

  /// Tokens of the longest value, and of what closes the prompt behind it.
  int64_t longest_value() const;

 private:
  // One reading of an output.
  struct Reading {
    enum Part { kValue, kSeparator, kClosing } part = kValue;
    int64_t first, end;         // of the sorted values, those that begin as it does
    int64_t depth = 0;          // tokens of this part
    std::vector<int64_t> used;  // places of sorted values written before
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
  std::vector<int64_t> order_;  // numbers of the values, ascending by their tokens
  std::vector<int64_t> place_;  // by number: its place in this order
  std::vector<int32_t> separator_, closing_;
  int32_t eos_;
  int64_t max_values_;
};

}  // namespace notellm
