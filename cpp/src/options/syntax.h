#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace notellm::internal {

/// Throws ConfigError `name:line: ...`, in words, where a text is not one document of YAML.
void check_syntax(const std::string& text, const std::string& name);

/// Where a value of YAML begins behind its anchor and its tag, `&name` and `!`; at most the size of
/// the text. Where it has nothing behind them, that is where something else begins.
size_t behind_properties(std::string_view text, size_t at);

/// What an error of yaml-cpp means, as `what must hold, but ...`.
///
/// @param message  Its `msg`.
/// @param open     The line on which the innermost list or group begins that is not ended; 0 if
///                 none.
std::string in_words(const std::string& message, int open);

}  // namespace notellm::internal
