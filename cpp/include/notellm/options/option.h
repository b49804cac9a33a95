#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace notellm {

/// A value of an option; the alternative it holds is the option's type.
using OptionValue = std::
    variant<bool, int64_t, double, std::string, std::vector<std::string>, std::vector<int64_t>>;

/// What an option changes: the results of a run, or only its cost and the files it keeps (apart
/// from rounding).
enum class Decides { kResult, kCost };

/// What else is known of an option beside its name, default and meaning: its range, its choices,
/// its unit. For a list, range and choices apply to each item.
struct OptionFacts {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool excludes_low = false;
  bool excludes_high = false;
  bool may_be_infinite = false;
  std::vector<std::string> choices = {};  ///< Allowed values of a text; none = any text.
  bool must_not_be_empty = false;         ///< For texts and lists.
  bool must_differ = false;               ///< For lists: no item may be given twice.
  std::string unit = {};                  ///< What a number counts or measures; empty = none.
  Decides decides = Decides::kResult;
  /// Whether the option is newer than configurations that were kept. One without it takes the
  /// default, which must forever be what was in effect before the option; names of results leave
  /// the option out where it has its default.
  bool is_added_later = false;

  OptionFacts in(std::string name) const {
    OptionFacts changed = *this;
    changed.unit = std::move(name);
    return changed;
  }
  OptionFacts not_empty() const {
    OptionFacts changed = *this;
    changed.must_not_be_empty = true;
    return changed;
  }
  OptionFacts or_infinite() const {
    OptionFacts changed = *this;
    changed.may_be_infinite = true;
    return changed;
  }
  OptionFacts added_later() const {
    OptionFacts changed = *this;
    changed.is_added_later = true;
    return changed;
  }
  OptionFacts decides_cost() const {
    OptionFacts changed = *this;
    changed.decides = Decides::kCost;
    return changed;
  }
};

inline OptionFacts anything() { return {}; }
inline OptionFacts at_least(double low) { return {.low = low}; }
inline OptionFacts above(double low) { return {.low = low, .excludes_low = true}; }
inline OptionFacts above_0_to_1() { return {.low = 0, .high = 1, .excludes_low = true}; }

/// One option: the only place where it is described.
struct Option {
  std::string name;
  OptionValue standard;  ///< The default.
  std::string meaning;   ///< One sentence.
  OptionFacts facts = {};
};

/// Options that belong together: one group of a configuration. The group with an empty name holds
/// the top-level keys.
struct OptionGroup {
  std::string name;
  std::string meaning;  ///< One sentence.
  std::vector<Option> options;
};

/// The values of one group, by option name.
using OptionValues = std::map<std::string, OptionValue>;

/// The values of all groups, by group name.
using GroupValues = std::map<std::string, OptionValues>;

}  // namespace notellm
