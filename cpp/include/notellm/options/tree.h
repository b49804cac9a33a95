#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace notellm {

struct TreeEntry;

/// An unquoted scalar of a YAML file. The option that it is for decides what it means, so that `no`
/// is a text where a text is wanted.
struct PlainText {
  std::string text;
};

/// Values as they were given in a YAML file or from Python, not checked yet: a scalar, a list, or a
/// map in the given order.
struct Tree {
  using List = std::vector<Tree>;
  using Map = std::vector<TreeEntry>;

  std::variant<std::monostate, bool, int64_t, double, std::string, PlainText, List, Map> content;
  int line = 0;  ///< The line it begins on, from 1; 0 = not from a file.
};

/// A key of a map and its value.
struct TreeEntry {
  std::string key;
  int line = 0;
  Tree value;
};

/// How error messages name a value: `the integer 3`, `the string 'yes'`, `a list`, `null`.
std::string describe(const Tree& tree);

}  // namespace notellm
