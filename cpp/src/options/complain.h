#pragma once

#include <array>
#include <charconv>
#include <string>

#include "notellm/util/check.h"

namespace notellm::internal {

/// Throws ConfigError `name:line: parts...`; without the line for a value that is not from a file
/// (line 0) or if the name is empty.
template <typename... Parts>
[[noreturn]] void complain(const std::string& name, int line, const Parts&... parts) {
  std::ostringstream message;
  if (!name.empty() && line > 0) message << name << ':' << line << ": ";
  if (!name.empty() && line == 0) message << name << ": ";
  (message << ... << parts);
  throw ConfigError(message.str());
}

/// The shortest text that reads back as the same number.
inline std::string shortest(double number) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.begin(), text.end(), number).ptr;
  return {text.begin(), end};
}

}  // namespace notellm::internal
