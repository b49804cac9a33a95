#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "notellm/options/option.h"
#include "notellm/options/tree.h"

namespace notellm {

/// How strictly a tree is held against the groups.
struct CheckOptions {
  std::string name = {};       ///< The file's name, for messages; may be empty.
  bool fills_in = false;       ///< A key that is not given has its default; else it is an error.
  bool skips_unknown = false;  ///< Keys and groups that are not known are left out, unread.
};

/// Checks values against the description of all their options: types, ranges, choices, names.
///
/// An integer is taken where a number is meant. A plain text of YAML is what the option's type
/// makes of it: `true`, `yes`, `on` and their opposites in any case; decimal integers; numbers,
/// `.inf`,
/// `.nan`; texts.
///
/// @return  a value for every option of every group.
/// @throws ConfigError `name:line: ...`: what must hold, but is; an unknown key comes with the
///         nearest known one.
GroupValues check(const Tree& tree,
                  const std::vector<OptionGroup>& groups,
                  const CheckOptions& options);

/// Values as if they had been given.
Tree tree_of(const OptionValues& values);

/// All keys, dotted (`mining.top`), in the given order.
std::vector<std::string> keys_of(const std::vector<OptionGroup>& groups);

/// A sentence that refuses the unknown dotted key and names the nearest known one if one is near:
/// `unknown key loss.alhpa; did you mean loss.alpha?`. Groups (`loss`) are known. Empty if the key
/// is known.
std::string unknown_key(const std::vector<OptionGroup>& groups, const std::string& key);

}  // namespace notellm
