#include "notellm/config/schema.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "complain.h"
#include "notellm/config/fields.h"
#include "notellm/config/yaml.h"

namespace notellm {
namespace {

std::string join(const std::string& group, std::string_view key) {
  return group.empty() ? std::string(key) : group + "." + std::string(key);
}

// Calls `add(dotted key, is a group)` for every key below `group`.
template <typename Group, typename Add>
void visit_keys(const Group& group, const std::string& path, const Add& add) {
  visit_fields(group, [&](std::string_view key, auto member, const Rule&) {
    const auto& field = group.*member;
    constexpr bool is_group = is_config_group<std::remove_cvref_t<decltype(field)>>;
    add(join(path, key), is_group);
    if constexpr (is_group) visit_keys(field, join(path, key), add);
  });
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
std::string nearest_key(const std::string& key) {
  const size_t most_changes = std::max<size_t>(1, key.size() / 4);
  std::string nearest;
  size_t fewest = most_changes + 1;
  visit_keys(Config(), "", [&](const std::string& known, bool) {
    const size_t inside = edit_distance(last_part(key), last_part(known)) + 1;
    const size_t changes = std::min(edit_distance(key, known), inside);
    if (changes < fewest) {
      fewest = changes;
      nearest = known;
    }
  });
  return nearest;
}

// Fills the structs from the tree; every complaint names file, line and dotted key.
class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  template <typename Group>
  void read_group(const YamlValue& value, const std::string& path, Group& group) const {
    const auto* entries = std::get_if<YamlValue::Map>(&value.content);
    if (!entries) {
      const std::string what = path.empty() ? "a configuration" : path;
      complain(value.line, what, " must be a group of keys, but is ", describe(value));
    }
    check_known(*entries, path);
    visit_fields(group, [&](std::string_view key, auto member, const Rule& rule) {
      const std::string full = join(path, key);
      const auto same = [key](const YamlEntry& entry) { return entry.key == key; };
      const auto entry = std::find_if(entries->begin(), entries->end(), same);
      if (entry == entries->end()) complain(value.line, full, " is missing");
      read(entry->value, full, rule, group.*member);
    });
    const std::string complaint = mismatch(group);
    if (!complaint.empty()) complain(value.line, path, ": ", complaint);
  }

 private:
  void check_known(const YamlValue::Map& entries, const std::string& path) const {
    for (const YamlEntry& entry : entries) {
      const std::string complaint = unknown_key(join(path, entry.key));
      if (!complaint.empty()) complain(entry.line, complaint);
    }
  }

  template <typename T>
  void read(const YamlValue& value, const std::string& key, const Rule& rule, T& out) const {
    if constexpr (is_config_group<T>) {
      read_group(value, key, out);
    } else {
      read_value(value, key, out);
      check(value, key, rule, out);
    }
  }

  void read_value(const YamlValue& value, const std::string& key, bool& out) const {
    out = scalar_of<bool>(value, key, "true or false");
  }
  void read_value(const YamlValue& value, const std::string& key, int64_t& out) const {
    out = scalar_of<int64_t>(value, key, "an integer");
  }
  void read_value(const YamlValue& value, const std::string& key, std::string& out) const {
    out = scalar_of<std::string>(value, key, "a string (numbers and words like yes need quotes)");
  }
  void read_value(const YamlValue& value, const std::string& key, double& out) const {
    const auto* scalar = std::get_if<YamlScalar>(&value.content);
    const auto* integer = scalar ? std::get_if<int64_t>(scalar) : nullptr;
    out = integer ? static_cast<double>(*integer) : scalar_of<double>(value, key, "a number");
  }
  template <typename Item>
  void read_value(const YamlValue& value, const std::string& key, std::vector<Item>& out) const {
    const auto* items = std::get_if<YamlValue::List>(&value.content);
    if (!items) complain(value.line, key, " must be a list, but is ", describe(value));
    out.assign(items->size(), Item());
    for (size_t i = 0; i < items->size(); ++i) {
      read_value((*items)[i], key + "[" + std::to_string(i) + "]", out[i]);
    }
  }

  template <typename T>
  T scalar_of(const YamlValue& value, const std::string& key, std::string_view kind) const {
    const auto* scalar = std::get_if<YamlScalar>(&value.content);
    const auto* content = scalar ? std::get_if<T>(scalar) : nullptr;
    if (!content) complain(value.line, key, " must be ", kind, ", but is ", describe(value));
    return *content;
  }

  void check(const YamlValue&, const std::string&, const Rule&, bool) const {}
  template <typename Number>
  requires std::is_arithmetic_v<Number>
  void check(const YamlValue& at, const std::string& key, const Rule& rule, Number value) const {
    const auto number = static_cast<double>(value);
    const std::string actual = internal::shortest(number);
    const auto refuse = [&](std::string_view range, double bound) {
      complain(at.line, key, " must be ", range, bound, ", but is ", actual);
    };
    if (!std::isfinite(number)) complain(at.line, key, " must be finite, but is ", actual);
    if (number < rule.low) refuse("at least ", rule.low);
    if (number == rule.low && rule.excludes_low) refuse("above ", rule.low);
    if (number > rule.high) refuse("at most ", rule.high);
    if (number == rule.high && rule.excludes_high) refuse("below ", rule.high);
  }
  void check(const YamlValue& at,
             const std::string& key,
             const Rule& rule,
             const std::string& value) const {
    const auto& choices = rule.choices;
    if (rule.must_not_be_empty && value.empty()) complain(at.line, key, " must not be empty");
    if (choices.empty() || std::count(choices.begin(), choices.end(), value)) return;
    std::string names;
    for (size_t i = 0; i < choices.size(); ++i) {
      if (i > 0) names += i + 1 == choices.size() ? " or " : ", ";
      names += choices[i];
    }
    complain(at.line, key, " must be ", names, ", but is '", value, "'");
  }
  template <typename Item>
  void check(const YamlValue& at,
             const std::string& key,
             const Rule& rule,
             const std::vector<Item>& items) const {
    if (rule.must_not_be_empty && items.empty()) complain(at.line, key, " must not be empty");
    const auto& values = std::get<YamlValue::List>(at.content);
    Rule item_rule = rule;
    item_rule.must_not_be_empty = false;
    for (size_t i = 0; i < items.size(); ++i) {
      check(values[i], key + "[" + std::to_string(i) + "]", item_rule, items[i]);
    }
  }

  template <typename... Parts>
  [[noreturn]] void complain(int line, const Parts&... parts) const {
    internal::complain(name_, line, parts...);
  }

  const std::string& name_;
};

}  // namespace

Config parse_config(std::string_view text, const std::string& name) {
  Config config;
  Reader(name).read_group(parse_yaml(text, name), "", config);
  return config;
}

Config read_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    throw ConfigError(path + ": must be a readable file that is not empty, but is not");
  }
  return parse_config(text.str(), path);
}

std::vector<std::string> config_keys() {
  std::vector<std::string> keys;
  visit_keys(Config(), "", [&keys](const std::string& key, bool is_group) {
    if (!is_group) keys.push_back(key);
  });
  return keys;
}

std::string unknown_key(const std::string& key) {
  bool is_known = false;
  visit_keys(Config(), "", [&](const std::string& known, bool) { is_known |= known == key; });
  if (is_known) return "";
  const std::string nearest = nearest_key(key);
  const std::string hint = nearest.empty() ? "" : "; did you mean " + nearest + "?";
  return "unknown key " + key + hint;
}

}  // namespace notellm
