#include "syntax.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "complain.h"
#include "utf8.h"

namespace notellm::internal {

size_t behind_properties(std::string_view text, size_t at) {
  constexpr std::string_view kSpace = " \t\r\n";
  while (at < text.size() && (text[at] == '&' || text[at] == '!')) {
    at = std::min(text.find_first_of(kSpace, at), text.size());
    at = std::min(text.find_first_not_of(kSpace, at), text.size());
  }
  return at;
}

namespace {

// Whether the text that begins with a quote at a place ends with it.
bool is_closed(std::string_view text, size_t at) {
  const char quote = text[at++];
  for (; at < text.size(); ++at) {
    if (quote == '"' && text[at] == '\\') {
      ++at;
    } else if (text[at] == quote) {
      if (quote == '"' || text.substr(at + 1, 1) != "'") return true;
      ++at;  // '' in single quotes is a quote in the text
    }
  }
  return false;
}

// Notes where documents begin, and on which lines the lists and groups begin that are not ended.
// Refuses a quote that is not closed: where a newline ends the file, yaml-cpp closes it silently.
class Shape : public YAML::EventHandler {
 public:
  Shape(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  std::vector<int> documents;  // lines, from 1
  std::vector<int> open;       // lines, outermost first

  void OnDocumentStart(const YAML::Mark& mark) override { documents.push_back(line_of(mark)); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark& mark,
                const std::string& tag,
                YAML::anchor_t,
                const std::string&) override {
    if (tag != "!") return;  // not in quotes
    const size_t at = behind_properties(text_, static_cast<size_t>(std::max(mark.pos, 0)));
    if (at >= text_.size() || (text_[at] != '\'' && text_[at] != '"')) return;
    if (!is_closed(text_, at)) {
      complain(name_, line_of(mark),
               "a text that begins with a quote must end with it, but does not");
    }
  }
  void OnSequenceStart(const YAML::Mark& mark,
                       const std::string&,
                       YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open.push_back(line_of(mark));
  }
  void OnSequenceEnd() override { open.pop_back(); }
  void OnMapStart(const YAML::Mark& mark,
                  const std::string&,
                  YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open.push_back(line_of(mark));
  }
  void OnMapEnd() override { open.pop_back(); }

 private:
  static int line_of(const YAML::Mark& mark) { return std::max(mark.line, 0) + 1; }

  std::string_view text_;
  const std::string& name_;
};

// What the messages of yaml-cpp mean, by how they begin; ^ is the line on which the list or group
// begins.
const std::pair<const char*, const char*> kMeanings[] = {
    {YAML::ErrorMsg::END_OF_SEQ_FLOW,
     "the items of a list in [] must be separated by commas and end with ], but in that of line ^ "
     "neither is here"},
    {YAML::ErrorMsg::END_OF_MAP_FLOW,
     "the keys of a group in {} must be separated by commas and end with }, but in that of line ^ "
     "neither is here"},
    {YAML::ErrorMsg::END_OF_SEQ,
     "the items of the list of line ^ must begin with - below each other, but here is something "
     "else"},
    {YAML::ErrorMsg::END_OF_MAP,
     "the keys of the group of line ^ must stand below each other, as KEY: VALUE, but here is "
     "something else"},
    {YAML::ErrorMsg::MAP_VALUE,
     "a colon with a space behind it must follow a key, but here it does not; try quotes around a "
     "text with colons"},
    {YAML::ErrorMsg::MAP_KEY, "a key must begin a line of its group, but here it does not"},
    {YAML::ErrorMsg::BLOCK_ENTRY,
     "an item that begins with - must begin a line of its list, but here it does not"},
    {YAML::ErrorMsg::TAB_IN_INDENTATION, "lines must be indented by spaces, but here is a tab"},
    {YAML::ErrorMsg::FLOW_END,
     "a ] or } must end a list or group that began with [ or {, but here "
     "it ends none"},
    {YAML::ErrorMsg::DOC_IN_SCALAR,
     "a text that begins with a quote must end with it, but one does not before this line"},
    {YAML::ErrorMsg::CHAR_IN_BLOCK,
     "the line must end behind | or >, but here it does not; try quotes"},
    {YAML::ErrorMsg::BAD_FILE, "values must be at most 16 deep"},  // said of hundreds of brackets
    {YAML::ErrorMsg::UNKNOWN_TOKEN,
     "a text must be in quotes if it begins with a character like @, % or `, but one is not"},
    {YAML::ErrorMsg::ALIAS_NOT_FOUND, "a text that begins with * must be in quotes, but is not"},
    {YAML::ErrorMsg::CHAR_IN_ALIAS, "a text that begins with * must be in quotes, but is not"},
    {YAML::ErrorMsg::ANCHOR_NOT_FOUND, "a text that begins with & must be in quotes, but is not"},
    {YAML::ErrorMsg::CHAR_IN_ANCHOR, "a text that begins with & must be in quotes, but is not"},
    {YAML::ErrorMsg::UNKNOWN_ANCHOR,
     "what *NAME repeats must be marked by &NAME above, but is not; try quotes if it is a text"},
    {YAML::ErrorMsg::INVALID_ESCAPE,
     "a backslash in double quotes must be one of YAML's, such as \\n or \\\\, but is not; try "
     "single "
     "quotes"},
    {YAML::ErrorMsg::INVALID_HEX,
     "\\x, \\u and \\U in double quotes must be followed by 2, 4 and 8 hexadecimal digits, but one "
     "is "
     "not; try single quotes"},
    {YAML::ErrorMsg::INVALID_UNICODE,
     "\\u and \\U in double quotes must name a character, but one does not"},
};

// A newline ends a line, and begins none.
int last_line(std::string_view text) {
  const auto ends = std::count(text.begin(), text.end(), '\n');
  return std::max(static_cast<int>(ends) + (text.ends_with('\n') ? 0 : 1), 1);
}

}  // namespace

std::string in_words(const std::string& message, int open) {
  for (const auto& [beginning, meaning] : kMeanings) {
    if (!message.starts_with(beginning)) continue;
    std::string words = meaning;
    const size_t at = words.find('^');
    return at == std::string::npos ? words : words.replace(at, 1, std::to_string(open));
  }
  return "must be YAML, but: " + readable(message);
}

// YAML::LoadAll would not end where something that is no document (a single comma) is left: it
// finds there one empty document after another.
void check_syntax(const std::string& text, const std::string& name) {
  std::istringstream input(text + "\n");  // so that all quotes that are not closed look alike
  Shape found(text, name);
  try {
    YAML::Parser parser(input);
    while (found.documents.size() < 2 && parser.HandleNextDocument(found)) {
    }
  } catch (const YAML::Exception& error) {
    complain(name, std::clamp(error.mark.line + 1, 1, last_line(text)),
             in_words(error.msg, found.open.empty() ? 0 : found.open.back()));
  }
  if (found.documents.size() > 1) {
    complain(name, found.documents[1], "a file must hold one document, but here begins another");
  }
}

}  // namespace notellm::internal
