#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace notellm {

struct TreeEntry;

/// An unquoted scalar of a YAML file: what it means is decided by the option that it is for, so
/// that `no` is a text where a text is wanted.
struct PlainText {
  std::string text;
};

/// Values as they were given, not checked yet: a scalar, a list, or a map in the given order; from
/// a YAML file, or from Python.
struct Tree {
  using List = std::vector<Tree>;
  using Map = std::vector<TreeEntry>;

  std::variant<std::monostate, bool, int64_t, double, std::string, PlainText, List, Map> content;
  int line = 0;  ///< Of its first character; the first line is 1; 0 = of no file.
};

/// A key of a map and its value.
struct TreeEntry {
  std::string key;
  int line = 0;
  Tree value;
};

/// A value for messages: `the integer 3`, `the string 'yes'`, `a list`, `null`.
std::string describe(const Tree& tree);

}  // namespace notellm
