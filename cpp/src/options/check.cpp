#include "notellm/options/check.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>

#include "complain.h"

namespace notellm {
namespace {

std::string join(const std::string& group, const std::string& key) {
  return group.empty() ? key : group + "." + key;
}

// Calls `visit(dotted key)` for every key, then for every group's own name.
template <typename Visit>
void visit_keys(const std::vector<OptionGroup>& groups, const Visit& visit) {
  for (const OptionGroup& group : groups) {
    if (!group.name.empty()) visit(group.name);
    for (const Option& option : group.options) visit(join(group.name, option.name));
  }
}

// Fewest insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`
// (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substitution});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string_view last_part(std::string_view key) { return key.substr(key.rfind('.') + 1); }

// The known key that `key` was most likely meant to be, or nothing. A key in the wrong group counts
// as one change away.
std::string nearest_key(const std::vector<OptionGroup>& groups, const std::string& key) {
  constexpr size_t kLongest = 200;  // a longer text is not a mistyped key
  if (key.size() > kLongest) return "";
  const size_t most_changes = std::max<size_t>(1, key.size() / 4);
  std::string nearest;
  size_t fewest = most_changes + 1;
  visit_keys(groups, [&](const std::string& known) {
    const size_t inside = edit_distance(last_part(key), last_part(known)) + 1;
    const size_t changes = std::min(edit_distance(key, known), inside);
    if (changes < fewest) {
      fewest = changes;
      nearest = known;
    }
  });
  return nearest;
}

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

bool is_one_of(const std::string& text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

// The value of type T that an unquoted scalar stands for; none if it stands for no such value.
template <typename T>
std::optional<T> meaning_of(const std::string& text);

template <>
std::optional<bool> meaning_of(const std::string& text) {
  const std::string word = lower_case(text);
  if (is_one_of(word, {"true", "yes", "on"})) return true;
  if (is_one_of(word, {"false", "no", "off"})) return false;
  return std::nullopt;
}

template <typename Number>
std::optional<Number> number_of(std::string_view digits) {
  if (digits.starts_with('+')) digits.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value);
  if (error != std::errc() || end != digits.end() || digits.empty()) return std::nullopt;
  return value;
}

template <>
std::optional<int64_t> meaning_of(const std::string& text) {
  // 017 is 15 in YAML 1.1 and 17 in YAML 1.2: refused as ambiguous
  const std::string_view digits = std::string_view(text).substr(
      text.find_first_not_of("+-") == std::string::npos ? text.size()
                                                        : text.find_first_not_of("+-"));
  if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
  return number_of<int64_t>(text);
}

template <>
std::optional<double> meaning_of(const std::string& text) {
  const std::string word = lower_case(text);
  if (is_one_of(word, {".inf", "+.inf"})) return std::numeric_limits<double>::infinity();
  if (word == "-.inf") return -std::numeric_limits<double>::infinity();
  if (word == ".nan") return std::numeric_limits<double>::quiet_NaN();
  const bool has_digit_or_dot = text.find_first_not_of("+-0123456789.eE") == std::string::npos;
  return has_digit_or_dot ? number_of<double>(text) : std::nullopt;
}

template <>
std::optional<std::string> meaning_of(const std::string& text) {
  if (text.empty() || text == "~" || lower_case(text) == "null") return std::nullopt;
  return text;
}

// Numbers as people write them: whole ones without an exponent.
std::string written(int64_t number) { return std::to_string(number); }
std::string written(double number) {
  constexpr double kManyDigits = 1e15;
  const bool is_whole = std::abs(number) < kManyDigits && number == std::trunc(number);
  return is_whole ? written(static_cast<int64_t>(number)) : internal::shortest(number);
}

// Turns one given tree into checked values; every error names file, line and dotted key.
class Checker {
 public:
  Checker(const std::vector<OptionGroup>& groups, const CheckOptions& options)
      : groups_(groups), options_(options) {}

  GroupValues check(const Tree& tree) const {
    const Tree::Map& entries = entries_of(tree, "a configuration");
    if (!options_.skips_others) check_known(entries, "");
    GroupValues values;
    for (const OptionGroup& group : groups_) {
      if (group.name.empty()) {
        values[""] = check_group(tree, entries, group);
        continue;
      }
      const TreeEntry* entry = find(entries, group.name);
      if (!entry && !options_.fills_in && !is_added_later(group))
        complain(tree.line, group.name, " is missing");
      const Tree empty{Tree::Map(), tree.line};
      const Tree& own = entry ? entry->value : empty;
      const Tree::Map& inside = entries_of(own, group.name);
      check_known(inside, group.name);
      values[group.name] = check_group(own, inside, group);
    }
    return values;
  }

 private:
  // Whether configurations that were kept may lack the whole group.
  static bool is_added_later(const OptionGroup& group) {
    return std::ranges::all_of(group.options,
                               [](const Option& option) { return option.facts.is_added_later; });
  }

  static const TreeEntry* find(const Tree::Map& entries, const std::string& key) {
    const auto entry = std::ranges::find(entries, key, &TreeEntry::key);
    return entry == entries.end() ? nullptr : &*entry;
  }

  const Tree::Map& entries_of(const Tree& tree, const std::string& what) const {
    const auto* entries = std::get_if<Tree::Map>(&tree.content);
    if (!entries) complain(tree.line, what, " must be a group of keys, but is ", describe(tree));
    return *entries;
  }

  void check_known(const Tree::Map& entries, const std::string& group) const {
    for (const TreeEntry& entry : entries) {
      const std::string complaint = unknown_key(groups_, join(group, entry.key));
      if (!complaint.empty()) complain(entry.line, complaint);
    }
  }

  OptionValues check_group(const Tree& at,
                           const Tree::Map& entries,
                           const OptionGroup& group) const {
    OptionValues values;
    for (const Option& option : group.options) {
      const std::string key = join(group.name, option.name);
      const TreeEntry* entry = find(entries, option.name);
      if (!entry && !options_.fills_in && !option.facts.is_added_later)
        complain(at.line, key, " is missing");
      values[option.name] = entry ? value_of(entry->value, key, option) : option.standard;
    }
    return values;
  }

  OptionValue value_of(const Tree& tree, const std::string& key, const Option& option) const;

  void read(const Tree& tree, const std::string& key, bool& out) const {
    out = scalar_of<bool>(tree, key, "true or false");
  }
  void read(const Tree& tree, const std::string& key, int64_t& out) const {
    out = scalar_of<int64_t>(tree, key, "an integer");
  }
  void read(const Tree& tree, const std::string& key, double& out) const {
    const auto* integer = std::get_if<int64_t>(&tree.content);
    out = integer ? static_cast<double>(*integer) : scalar_of<double>(tree, key, "a number");
  }
  void read(const Tree& tree, const std::string& key, std::string& out) const {
    out = scalar_of<std::string>(tree, key, "a text");
  }
  template <typename Item>
  void read(const Tree& tree, const std::string& key, std::vector<Item>& out) const {
    const auto* items = std::get_if<Tree::List>(&tree.content);
    if (!items) complain(tree.line, key, " must be a list, but is ", describe(tree));
    out.assign(items->size(), Item());
    for (size_t i = 0; i < items->size(); ++i) read((*items)[i], item_key(key, i), out[i]);
  }

  static std::string item_key(const std::string& key, size_t i) {
    return key + "[" + std::to_string(i) + "]";
  }

  template <typename T>
  T scalar_of(const Tree& tree, const std::string& key, std::string_view kind) const {
    if (const auto* content = std::get_if<T>(&tree.content)) return *content;
    if (const auto* plain = std::get_if<PlainText>(&tree.content)) {
      if (const auto meaning = meaning_of<T>(plain->text)) return *meaning;
    }
    complain(tree.line, key, " must be ", kind, ", but is ", describe(tree));
  }

  void hold(const Tree&, const std::string&, const OptionFacts&, bool) const {}
  template <typename Number>
  requires std::is_arithmetic_v<Number>
  void hold(const Tree& at, const std::string& key, const OptionFacts& facts, Number value) const {
    const auto number = static_cast<double>(value);
    const std::string actual = written(value);
    const auto refuse = [&](std::string_view range, double bound) {
      complain(at.line, key, " must be ", range, written(bound), ", but is ", actual);
    };
    const bool passes = std::isfinite(number) || (facts.may_be_infinite && !std::isnan(number));
    if (!passes) complain(at.line, key, " must be finite, but is ", actual);
    if (number < facts.low) refuse("at least ", facts.low);
    if (number == facts.low && facts.excludes_low) refuse("above ", facts.low);
    if (number > facts.high) refuse("at most ", facts.high);
    if (number == facts.high && facts.excludes_high) refuse("below ", facts.high);
  }
  void hold(const Tree& at,
            const std::string& key,
            const OptionFacts& facts,
            const std::string& value) const {
    const auto& choices = facts.choices;
    if (facts.must_not_be_empty && value.empty()) complain(at.line, key, " must not be empty");
    if (choices.empty() || std::ranges::count(choices, value)) return;
    std::string names;
    for (size_t i = 0; i < choices.size(); ++i) {
      if (i > 0) names += i + 1 == choices.size() ? " or " : ", ";
      names += choices[i];
    }
    complain(at.line, key, " must be ", names, ", but is '", value, "'");
  }
  template <typename Item>
  void hold(const Tree& at,
            const std::string& key,
            const OptionFacts& facts,
            const std::vector<Item>& items) const {
    if (facts.must_not_be_empty && items.empty()) complain(at.line, key, " must not be empty");
    OptionFacts of_item = facts;
    of_item.must_not_be_empty = false;
    const auto& given = std::get<Tree::List>(at.content);
    for (size_t i = 0; i < items.size(); ++i) {
      hold(given[i], item_key(key, i), of_item, items[i]);
      if (facts.must_differ && std::ranges::count(items, items[i]) > 1) {
        complain(given[i].line, key, " must hold each value once, but holds ", describe(given[i]),
                 " more than once");
      }
    }
  }

  template <typename... Parts>
  [[noreturn]] void complain(int line, const Parts&... parts) const {
    internal::complain(options_.name, line, parts...);
  }

  const std::vector<OptionGroup>& groups_;
  const CheckOptions& options_;
};

// Behind the class: clang up to 16, at least, loses the templates that a lambda within it uses.
OptionValue Checker::value_of(const Tree& tree,
                              const std::string& key,
                              const Option& option) const {
  return std::visit(
      [&](auto standard) -> OptionValue {
        read(tree, key, standard);
        hold(tree, key, option.facts, standard);
        return standard;
      },
      option.standard);
}

}  // namespace

GroupValues check(const Tree& tree,
                  const std::vector<OptionGroup>& groups,
                  const CheckOptions& options) {
  return Checker(groups, options).check(tree);
}

Tree tree_of(const OptionValues& values) {
  Tree::Map entries;
  for (const auto& [name, value] : values) {
    Tree own;
    std::visit(
        [&own](const auto& held) {
          using Held = std::remove_cvref_t<decltype(held)>;
          if constexpr (requires { held.begin()->size(); } ||
                        std::is_same_v<Held, std::vector<int64_t>>) {
            Tree::List items;
            for (const auto& item : held) items.push_back({item, 0});
            own.content = std::move(items);
          } else {
            own.content = held;
          }
        },
        value);
    entries.push_back({name, 0, std::move(own)});
  }
  return {std::move(entries), 0};
}

std::vector<std::string> keys_of(const std::vector<OptionGroup>& groups) {
  std::vector<std::string> keys;
  for (const OptionGroup& group : groups) {
    for (const Option& option : group.options) keys.push_back(join(group.name, option.name));
  }
  return keys;
}

std::string unknown_key(const std::vector<OptionGroup>& groups, const std::string& key) {
  bool is_known = false;
  visit_keys(groups, [&](const std::string& known) { is_known |= known == key; });
  if (is_known) return "";
  const std::string nearest = nearest_key(groups, key);
  const std::string hint = nearest.empty() ? "" : "; did you mean " + nearest + "?";
  return "unknown key " + key + hint;
}

}  // namespace notellm
