#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace notellm {

/// A configuration that cannot be used. Python: `notellm.ConfigError`, a `ValueError`.
class ConfigError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// An input file or its content that cannot be used. Python: `notellm.DataError`, a `RuntimeError`.
class DataError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A feature this build or model lacks. Python: `notellm.NotSupportedError`, a
/// `NotImplementedError`.
class NotSupportedError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A long call was stopped because its progress callback asked for it.
class Interrupted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace internal {

/// The parts as one text.
template <typename... Parts>
std::string joined(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

/// Throws `Error("<where>: <parts...>")`. Messages have the form `where: what must hold, but is X;
/// try Y`.
template <typename Error, typename... Parts>
[[noreturn]] void throw_error(std::string_view where, const Parts&... parts) {
  throw Error(joined(where, ": ", parts...));
}

/// Throws `std::invalid_argument("<where>: <parts...>")` unless `holds`.
/// @param where  the public name of what the user called, not that of an inner helper.
template <typename... Parts>
void require(bool holds, std::string_view where, const Parts&... parts) {
  if (!holds) throw_error<std::invalid_argument>(where, parts...);
}

/// `require` for a function that checks several conditions: its public name and the error class are
/// given once.
template <typename Error = std::invalid_argument>
class Require {
 public:
  explicit constexpr Require(std::string_view where) : where_(where) {}

  template <typename... Parts>
  void operator()(bool holds, const Parts&... parts) const {
    if (!holds) throw_error<Error>(where_, parts...);
  }

 private:
  std::string_view where_;
};

}  // namespace internal
}  // namespace notellm
