#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace notellm {

struct YamlEntry;

/// A scalar of a YAML file: null, boolean, integer, floating-point number or string.
using YamlScalar = std::variant<std::monostate, bool, int64_t, double, std::string>;

/// One value of a YAML file and where it stands: a scalar, a list or a map in the file's order.
struct YamlValue {
  using List = std::vector<YamlValue>;
  using Map = std::vector<YamlEntry>;

  std::variant<YamlScalar, List, Map> content;
  int line = 1;  ///< Of its first character; the first line is 1.
};

/// A key of a map and its value.
struct YamlEntry {
  std::string key;
  int line = 1;  ///< Of the key.
  YamlValue value;
};

/// Reads one YAML document.
///
/// Plain scalars mean what they mean to OmegaConf, which writes the files we read (see
/// `resolve_plain_scalar`); quoted ones are strings.
///
/// @param text  UTF-8 text of the file.
/// @param name  The file's name, for messages; empty for a text that is in no file.
/// @throws ConfigError `name:line: ...` (without a name just `...`) on bad syntax, a key given
///         twice, a key that is no scalar, an explicit tag, a number that does not fit, text that
///         is not UTF-8, quotes around line breaks alone, or more than one document.
YamlValue parse_yaml(std::string_view text, const std::string& name);

/// The meaning of an unquoted scalar: YAML 1.1 with OmegaConf's wider floating-point numbers.
///
/// `yes`, `No`, `on` are booleans; `017`, `0x1F`, `0b11`, `1_000` and `1:30` (base 60) integers;
/// `1e-3`, `.5`, `1.`, `-.inf`, `.nan` floating point; the empty text, `~` and `null` null; all
/// else, dates too, is a string.
///
/// @throws std::out_of_range for a number that int64 or double cannot hold.
YamlScalar resolve_plain_scalar(std::string_view text);

/// A value for messages: `the integer 3`, `the string 'yes'`, `a list`, `null`.
std::string describe(const YamlValue& value);

}  // namespace notellm
