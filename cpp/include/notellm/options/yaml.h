#pragma once

#include <string>
#include <string_view>

#include "notellm/options/option.h"
#include "notellm/options/tree.h"

namespace notellm {

/// Reads one YAML document.
///
/// @param text  UTF-8 text of the file.
/// @param name  The file's name, for messages; empty for a text that is not from a file.
/// @throws ConfigError `name:line: ...` (without a name just `...`) on bad syntax, a key given
///         twice, a key that is not a scalar, an explicit tag, text that is not UTF-8, a quoted
///         text of line breaks only, more than one document, or one that is too deep or too large.
Tree parse_yaml(std::string_view text, const std::string& name);

/// Values as YAML that `parse_yaml` and other readers (PyYAML, OmegaConf) read back unchanged.
///
/// @param order   The groups, in the order in which they are written.
/// @param values  A value for each of their options.
std::string to_yaml(const std::vector<OptionGroup>& order, const GroupValues& values);

}  // namespace notellm
