#include <regex.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <stdexcept>

#include "notellm/config/yaml.h"

namespace notellm {
namespace {

// Longer than any number that fits; keeps the regular expressions off long texts.
constexpr size_t kLongestNumber = 128;

// An extended regular expression of POSIX, whose header compiles in a tenth of <regex>'s time.
class Pattern {
 public:
  explicit Pattern(const std::string& pattern) {
    if (regcomp(&compiled_, ("^(" + pattern + ")$").c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
      throw std::logic_error("the pattern " + pattern + " is not a regular expression");
    }
  }
  ~Pattern() { regfree(&compiled_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool matches(std::string_view text) const {
    if (text.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos) return false;
    return regexec(&compiled_, std::string(text).c_str(), 0, nullptr, 0) == 0;
  }

 private:
  regex_t compiled_;
};

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// `yes`, `Yes` and `YES` are written alike; `yEs` is a string.
bool is_cased_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  if (text.empty()) return false;
  std::string lower(text);
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto uppers = std::count_if(lower.begin(), lower.end(), is_upper);
  const bool is_regular = uppers == 0 || uppers == static_cast<std::ptrdiff_t>(text.size()) ||
                          (uppers == 1 && is_upper(text[0]));
  for (char& c : lower) c = is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
  return is_regular && is_one_of(lower, words);
}

[[noreturn]] void throw_out_of_range(std::string_view text) {
  throw std::out_of_range("the number " + std::string(text) + " is too large");
}

// Digits of one base, without underscores; nothing if there are none.
std::optional<uint64_t> parse_digits(std::string_view digits, int base, std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value, base);
  if (error == std::errc::result_out_of_range) throw_out_of_range(text);
  if (error != std::errc() || end != digits.end()) return std::nullopt;
  return value;
}

// `1:30:00` is 5400: parts in base 60, the leading one unbounded.
std::optional<uint64_t> parse_sexagesimal(std::string_view digits, std::string_view text) {
  uint64_t value = 0;
  while (true) {
    const size_t colon = digits.find(':');
    const auto part = parse_digits(digits.substr(0, colon), 10, text);
    if (!part) return std::nullopt;
    if (__builtin_mul_overflow(value, 60, &value) || __builtin_add_overflow(value, *part, &value)) {
      throw_out_of_range(text);
    }
    if (colon == std::string_view::npos) return value;
    digits.remove_prefix(colon + 1);
  }
}

std::optional<uint64_t> parse_magnitude(std::string_view digits, std::string_view text) {
  if (digits.starts_with("0b")) return parse_digits(digits.substr(2), 2, text);
  if (digits.starts_with("0x")) return parse_digits(digits.substr(2), 16, text);
  if (digits.starts_with("0")) return parse_digits(digits, 8, text);
  return parse_sexagesimal(digits, text);
}

std::string without_underscores(std::string_view text) {
  std::string result(text);
  std::erase(result, '_');
  return result;
}

// Takes the sign off the front of `digits`.
bool take_sign(std::string_view& digits) {
  const bool is_negative = digits.starts_with('-');
  if (is_negative || digits.starts_with('+')) digits.remove_prefix(1);
  return is_negative;
}

std::optional<int64_t> parse_integer(std::string_view text) {
  static const Pattern pattern(
      "[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+"
      "|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+");
  if (!pattern.matches(text)) return std::nullopt;
  const std::string plain = without_underscores(text);
  std::string_view digits = plain;
  const bool is_negative = take_sign(digits);
  const auto magnitude = parse_magnitude(digits, text);
  if (!magnitude) return std::nullopt;
  constexpr uint64_t kMax = INT64_MAX;
  if (*magnitude > kMax + (is_negative ? 1 : 0)) throw_out_of_range(text);
  return static_cast<int64_t>(is_negative ? uint64_t{0} - *magnitude : *magnitude);
}

std::optional<double> parse_decimal(std::string_view digits, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value);
  if (error == std::errc::result_out_of_range) throw_out_of_range(text);
  if (error != std::errc() || end != digits.end()) return std::nullopt;
  return value;
}

std::optional<double> parse_sexagesimal_decimal(std::string_view digits, std::string_view text) {
  const size_t colon = digits.rfind(':');
  const auto last = parse_decimal(digits.substr(colon + 1), text);
  const auto leading = parse_sexagesimal(digits.substr(0, colon), text);
  if (!last || !leading) return std::nullopt;
  return static_cast<double>(*leading) * 60 + *last;
}

std::optional<double> parse_real(std::string_view text) {
  // PyYAML's pattern, then the one OmegaConf adds (exponents without a dot or a sign).
  static const Pattern pattern(
      "[-+]?[0-9][0-9_]*\\.[0-9_]*([eE][-+][0-9]+)?|\\.[0-9][0-9_]*([eE][-+][0-9]+)?"
      "|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\\.[0-9_]*"
      "|[-+]?[0-9]+(_[0-9]+)*\\.[0-9_]*([eE][-+]?[0-9]+)?"
      "|[-+]?[0-9]+(_[0-9]+)*[eE][-+]?[0-9]+|\\.[0-9]+(_[0-9]+)*([eE][-+][0-9]+)?");
  const std::string plain = without_underscores(text);
  std::string_view digits = plain;
  const double sign = take_sign(digits) ? -1.0 : 1.0;
  if (is_one_of(digits, {".inf", ".Inf", ".INF"})) {
    return sign * std::numeric_limits<double>::infinity();
  }
  if (is_one_of(text, {".nan", ".NaN", ".NAN"})) return std::numeric_limits<double>::quiet_NaN();
  if (!pattern.matches(text)) return std::nullopt;
  const bool is_sexagesimal = digits.find(':') != std::string_view::npos;
  const auto value =
      is_sexagesimal ? parse_sexagesimal_decimal(digits, text) : parse_decimal(digits, text);
  if (!value) return std::nullopt;
  return sign * *value;
}

}  // namespace

YamlScalar resolve_plain_scalar(std::string_view text) {
  if (text.empty() || text == "~" || is_cased_one_of(text, {"null"})) return std::monostate();
  if (is_cased_one_of(text, {"yes", "true", "on"})) return true;
  if (is_cased_one_of(text, {"no", "false", "off"})) return false;
  if (text.size() <= kLongestNumber) {
    if (const auto integer = parse_integer(text)) return *integer;
    if (const auto real = parse_real(text)) return *real;
  }
  return std::string(text);
}

}  // namespace notellm
