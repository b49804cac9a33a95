#include "notellm/config/yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "complain.h"

namespace notellm {
namespace {

// Length of the UTF-8 character at the front of `text`, 0 if there is none. Overlong forms and
// surrogates pass: nobody writes them, and Python's decoder refuses them.
size_t character_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t length = first < 0x80   ? 1
                        : first < 0xC2 ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// YAML 1.1 breaks lines at these, YAML 1.2 does not: OmegaConf and yaml-cpp would read two texts.
void check_line_breaks(std::string_view text, const std::string& name) {
  for (const char* separator : {"\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"}) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) continue;
    const auto lines =
        std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    internal::complain(
        name, static_cast<int>(lines) + 1,
        "the line separators U+0085, U+2028 and U+2029 are not supported; use a newline");
  }
}

// Turns yaml-cpp's tree into ours; every complaint names the file and the line.
class Converter {
 public:
  Converter(const std::string& text, const std::string& name) : text_(text), name_(name) {}

  YamlValue convert(const YAML::Node& node) const {
    YamlValue value;
    value.line = line_of(node);
    check_tag(node, value.line);
    switch (node.Type()) {
      case YAML::NodeType::Scalar:
        value.content = scalar(node, value.line);
        break;
      case YAML::NodeType::Sequence:
        value.content = list(node);
        break;
      case YAML::NodeType::Map:
        value.content = map(node);
        break;
      default:
        value.content = YamlScalar();
    }
    return value;
  }

 private:
  static int line_of(const YAML::Node& node) { return std::max(node.Mark().line, 0) + 1; }

  void check_tag(const YAML::Node& node, int line) const {
    const std::string& tag = node.Tag();
    const bool is_implicit = tag.empty() || tag == "?" || tag == "!";
    if (!is_implicit) throw_at(line, "explicit tags are not supported, but found ", tag);
  }

  void check_utf8(const std::string& text, int line) const {
    // yaml-cpp 0.7 turns the escapes \N and \_ into such bytes too.
    if (!is_utf8(text)) throw_at(line, "text must be UTF-8, but is not");
  }

  // yaml-cpp reads quotes around line breaks alone as the empty text: theirs must touch.
  void check_empty(const YAML::Node& node, int line) const {
    if (!node.Scalar().empty()) return;
    auto at = static_cast<size_t>(node.Mark().pos);
    if (text_[at] == '&') at = text_.find_first_of("'\"", at);  // an anchor stands before it
    const char quote = text_[at];
    if ((quote == '\'' || quote == '"') && text_[at + 1] != quote) {
      throw_at(line, "a text of line breaks alone must be written with \\n in double quotes");
    }
  }

  YamlScalar scalar(const YAML::Node& node, int line) const {
    check_utf8(node.Scalar(), line);
    if (node.Tag() == "!") {  // quoted
      check_empty(node, line);
      return node.Scalar();
    }
    try {
      return resolve_plain_scalar(node.Scalar());
    } catch (const std::out_of_range& error) {
      throw_at(line, error.what());
    }
  }

  YamlValue::List list(const YAML::Node& node) const {
    YamlValue::List items;
    for (const YAML::Node& item : node) items.push_back(convert(item));
    return items;
  }

  YamlValue::Map map(const YAML::Node& node) const {
    YamlValue::Map entries;
    for (const auto& pair : node) {
      const int line = line_of(pair.first);
      if (!pair.first.IsScalar()) throw_at(line, "a key must be plain text");
      const std::string& name = pair.first.Scalar();
      check_utf8(name, line);
      const auto same = [&name](const YamlEntry& entry) { return entry.key == name; };
      const auto first = std::find_if(entries.begin(), entries.end(), same);
      if (first != entries.end()) {
        throw_at(line, "the key ", name, " is given twice, first on line ", first->line);
      }
      entries.push_back({name, line, convert(pair.second)});
    }
    return entries;
  }

  template <typename... Parts>
  [[noreturn]] void throw_at(int line, const Parts&... parts) const {
    internal::complain(name_, line, parts...);
  }

  const std::string& text_;
  const std::string& name_;
};

}  // namespace

YamlValue parse_yaml(std::string_view given, const std::string& name) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // yaml-cpp does not count it
  if (given.starts_with(kByteOrderMark)) given.remove_prefix(kByteOrderMark.size());
  check_line_breaks(given, name);
  const std::string text(given);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      internal::complain(name, std::max(documents[1].Mark().line, 0) + 1,
                         "a file must hold one document, but here begins another");
    }
    return documents.empty() ? YamlValue() : Converter(text, name).convert(documents[0]);
  } catch (const YAML::Exception& error) {
    internal::complain(name, std::max(error.mark.line, 0) + 1, error.msg);
  }
}

std::string describe(const YamlValue& value) {
  if (std::holds_alternative<YamlValue::List>(value.content)) return "a list";
  if (std::holds_alternative<YamlValue::Map>(value.content)) return "a group of keys";
  const auto& scalar = std::get<YamlScalar>(value.content);
  if (const auto* boolean = std::get_if<bool>(&scalar)) return *boolean ? "true" : "false";
  if (const auto* integer = std::get_if<int64_t>(&scalar)) {
    return "the integer " + std::to_string(*integer);
  }
  if (const auto* real = std::get_if<double>(&scalar)) {
    return "the number " + internal::shortest(*real);
  }
  if (const auto* text = std::get_if<std::string>(&scalar)) return "the string '" + *text + "'";
  return "null";
}

}  // namespace notellm
