#pragma once

#include <string>
#include <string_view>

namespace notellm::internal {

/// Length of the UTF-8 character at the beginning of `text`, which is not empty; 0 if there is
/// none.
size_t character_length(std::string_view text);

bool is_utf8(std::string_view text);

/// A text for a message: what is not UTF-8 is a question mark.
std::string readable(std::string_view text);

/// Throws ConfigError `name:line: ...` for the first byte that is not UTF-8, or is zero, and for a
/// character at which some readers of YAML break lines and others do not.
void check_text(std::string_view text, const std::string& name);

}  // namespace notellm::internal
