#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "notellm/options/option.h"
#include "notellm/options/tree.h"

namespace notellm {

/// How strictly a tree is checked against the groups.
struct CheckOptions {
  std::string name = {};      ///< The file's name, for messages; may be empty.
  bool fills_in = false;      ///< A missing key takes its default; if false it is an error, unless
                              ///< the option was added later.
  bool skips_others = false;  ///< Groups, and keys of no group, that are not known are ignored.
};

/// Checks values against the description of all their options: types, ranges, choices, names.
///
/// An integer is accepted for a number. An unquoted scalar of YAML is read as the option's type
/// says: a boolean (`true`, `yes`, `on` and their opposites in upper or lower case), a decimal
/// integer, a number (also `.inf`, `.nan`), or a text.
///
/// @return  a value for every option of every group.
/// @throws ConfigError `name:line: ...` with what must hold and what was given; for an unknown key
///         it suggests the nearest known one.
GroupValues check(const Tree& tree,
                  const std::vector<OptionGroup>& groups,
                  const CheckOptions& options);

/// The values as a tree, as if they had been read from a file.
Tree tree_of(const OptionValues& values);

/// All keys, dotted (`mining.top`), in the given order.
std::vector<std::string> keys_of(const std::vector<OptionGroup>& groups);

/// The message for an unknown dotted key, with the nearest known key if one is near:
/// `unknown key loss.alhpa; did you mean loss.alpha?`. Names of groups (`loss`) count as known.
/// Empty if the key is known.
std::string unknown_key(const std::vector<OptionGroup>& groups, const std::string& key);

}  // namespace notellm
