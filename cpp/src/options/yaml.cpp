#include "notellm/options/yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>
#include <utility>

#include "complain.h"
#include "syntax.h"
#include "utf8.h"

namespace notellm {

using internal::character_length;

namespace {

// An anchor can be used within its own value, and a few lines of anchors can expand to millions of
// values.
constexpr int kMostLevels = 16;
constexpr int64_t kMostValues = 100'000;
constexpr size_t kMostBytes = size_t{64} << 20;  // of texts, each as often as it is repeated

// Turns yaml-cpp's tree into ours; every error names the file and the line.
class Converter {
 public:
  Converter(const std::string& text, const std::string& name) : text_(text), name_(name) {}

  Tree convert(const YAML::Node& node, int depth = 0) {
    Tree value;
    value.line = line_of(node);
    check_tag(node, value.line);
    if (depth > kMostLevels) throw_at(value.line, "values must be at most ", kMostLevels, " deep");
    if (++values_ > kMostValues)
      throw_at(value.line, "a file must hold at most ", kMostValues, " values");
    switch (node.Type()) {
      case YAML::NodeType::Scalar:
        scalar(node, value);
        break;
      case YAML::NodeType::Sequence:
        value.content = list(node, depth + 1);
        break;
      case YAML::NodeType::Map:
        value.content = map(node, depth + 1);
        break;
      default:
        value.content = std::monostate();
    }
    return value;
  }

 private:
  static int line_of(const YAML::Node& node) { return std::max(node.Mark().line, 0) + 1; }

  void check_tag(const YAML::Node& node, int line) const {
    const std::string& tag = node.Tag();
    const bool is_implicit = tag.empty() || tag == "?" || tag == "!";
    if (!is_implicit)
      throw_at(line, "explicit tags are not supported, but found ", internal::readable(tag));
  }

  void check_text(const std::string& text, int line) {
    bytes_ += text.size();
    if (bytes_ > kMostBytes) {
      throw_at(line, "a file must hold at most ", kMostBytes,
               " bytes of text, repeated ones included");
    }
    // yaml-cpp 0.7 turns the escapes \N and \_ into such bytes too.
    if (!internal::is_utf8(text)) throw_at(line, "text must be UTF-8, but is not");
  }

  // yaml-cpp reads a quoted text of line breaks only as the empty text. Behind a tag alone (`a: !`)
  // the next key may stand in quotes: it is none of line breaks.
  void check_empty(const YAML::Node& node, int line) const {
    if (!node.Scalar().empty()) return;
    const auto begin = static_cast<size_t>(std::max(node.Mark().pos, 0));
    const size_t at = internal::behind_properties(text_, begin);
    if (at >= text_.size() || (text_[at] != '\'' && text_[at] != '"')) return;
    const size_t end = text_.find_first_not_of(" \t\r\n\\", at + 1);
    const bool is_closed = end != std::string::npos && text_[end] == text_[at];
    if (is_closed && text_.find_first_of("\r\n", at) < end) {
      throw_at(line, "a text of line breaks alone must be written with \\n in double quotes");
    }
  }

  void scalar(const YAML::Node& node, Tree& value) {
    check_text(node.Scalar(), value.line);
    const bool is_quoted = node.Tag() == "!";
    if (!is_quoted) {
      value.content = PlainText{node.Scalar()};
      return;
    }
    check_empty(node, value.line);
    value.content = node.Scalar();
  }

  Tree::List list(const YAML::Node& node, int depth) {
    Tree::List items;
    for (const YAML::Node& item : node) items.push_back(convert(item, depth));
    return items;
  }

  Tree::Map map(const YAML::Node& node, int depth) {
    Tree::Map entries;
    for (const auto& pair : node) {
      const int line = line_of(pair.first);
      if (!pair.first.IsScalar()) throw_at(line, "a key must be plain text");
      const std::string& name = pair.first.Scalar();
      check_text(name, line);
      const auto same = [&name](const TreeEntry& entry) { return entry.key == name; };
      const auto first = std::find_if(entries.begin(), entries.end(), same);
      if (first != entries.end()) {
        throw_at(line, "the key ", name, " is given twice, first on line ", first->line);
      }
      entries.push_back({name, line, convert(pair.second, depth)});
    }
    return entries;
  }

  template <typename... Parts>
  [[noreturn]] void throw_at(int line, const Parts&... parts) const {
    internal::complain(name_, line, parts...);
  }

  const std::string& text_;
  const std::string& name_;
  int64_t values_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

Tree parse_yaml(std::string_view given, const std::string& name) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // yaml-cpp does not count it
  if (given.starts_with(kByteOrderMark)) given.remove_prefix(kByteOrderMark.size());
  internal::check_text(given, name);
  const std::string text(given);
  internal::check_syntax(text, name);
  try {
    return Converter(text, name).convert(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    internal::complain(name, std::max(error.mark.line, 0) + 1, internal::in_words(error.msg, 0));
  }
}

std::string describe(const Tree& tree) {
  if (const auto* boolean = std::get_if<bool>(&tree.content)) return *boolean ? "true" : "false";
  if (const auto* integer = std::get_if<int64_t>(&tree.content)) {
    return "the integer " + std::to_string(*integer);
  }
  if (const auto* real = std::get_if<double>(&tree.content)) {
    return "the number " + internal::shortest(*real);
  }
  if (const auto* text = std::get_if<std::string>(&tree.content)) return "the text '" + *text + "'";
  if (const auto* plain = std::get_if<PlainText>(&tree.content)) {
    return plain->text.empty() ? "null" : plain->text;
  }
  if (std::holds_alternative<Tree::List>(tree.content)) return "a list";
  return std::holds_alternative<Tree::Map>(tree.content) ? "a group of keys" : "null";
}

namespace {

// Whether every YAML reader takes this text for a text when it is not quoted.
bool is_clear(const std::string& text) {
  static const std::array<std::string_view, 10> kWords = {"y",  "n",   "yes",   "no",   "true",
                                                          "on", "off", "false", "null", "nan"};
  std::string lower;
  for (const char c : text) lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (std::ranges::find(kWords, lower) != kWords.end()) return false;
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_' || c == '/'; };
  const auto is_plain = [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  return !lower.empty() && is_letter(lower[0]) && std::ranges::all_of(lower, is_plain);
}

constexpr std::string_view kHexDigits = "0123456789ABCDEF";

// Whether some YAML reader takes this character for a line break or refuses it: a control character
// (C0 or C1), U+2028, U+2029, a byte order mark or a noncharacter.
bool must_be_escaped(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  if (first == 0xC2) return static_cast<unsigned char>(character[1]) < 0xA0;
  for (const char* one :
       {"\xE2\x80\xA8", "\xE2\x80\xA9", "\xEF\xBB\xBF", "\xEF\xBF\xBE", "\xEF\xBF\xBF"}) {
    if (character == one) return true;
  }
  return false;
}

std::string escaped(std::string_view character) {
  static const std::array<unsigned char, 5> kMasks = {0, 0x7F, 0x1F, 0x0F, 0x07};
  uint32_t code = static_cast<unsigned char>(character[0]) & kMasks[character.size()];
  for (const char c : character.substr(1))
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3F);
  std::string digits;
  for (int shift = code < 0x100 ? 4 : 12; shift >= 0; shift -= 4)
    digits += kHexDigits[code >> shift & 15];
  return (code < 0x100 ? "\\x" : "\\u") + digits;
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  while (!text.empty()) {
    const std::string_view character = text.substr(0, std::max<size_t>(character_length(text), 1));
    if (character == "\n") {
      result += "\\n";
    } else if (character == "\"" || character == "\\") {
      (result += '\\') += character;
    } else {
      result += must_be_escaped(character) ? escaped(character) : std::string(character);
    }
    text.remove_prefix(character.size());
  }
  return result + '"';
}

std::string yaml_of(bool value) { return value ? "true" : "false"; }
std::string yaml_of(int64_t value) { return std::to_string(value); }
std::string yaml_of(const std::string& text) { return is_clear(text) ? text : quoted(text); }

// With a point and a sign: YAML 1.1 needs them to recognise a number with an exponent.
std::string yaml_of(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  const std::string text = internal::shortest(value);
  const size_t exponent = std::min(text.find('e'), text.size());
  const bool has_point = text.substr(0, exponent).find('.') != std::string::npos;
  return text.substr(0, exponent) + (has_point ? "" : ".0") + text.substr(exponent);
}

template <typename Item>
std::string yaml_of(const std::vector<Item>& items) {
  if (items.empty()) return "[]";
  std::string text;
  for (const Item& item : items) text += "\n  - " + yaml_of(item);
  return text;
}

}  // namespace

std::string to_yaml(const std::vector<OptionGroup>& order, const GroupValues& values) {
  std::ostringstream out;
  for (const OptionGroup& group : order) {
    if (!group.name.empty()) out << group.name << ":\n";
    for (const Option& option : group.options) {
      const std::string value = std::visit([](const auto& v) { return yaml_of(v); },
                                           values.at(group.name).at(option.name));
      const bool is_list = value.starts_with('\n');
      out << (group.name.empty() ? "" : "  ") << option.name << ':' << (is_list ? "" : " ");
      out << value << '\n';
    }
  }
  return out.str();
}

}  // namespace notellm
