#include "utf8.h"

#include <algorithm>

#include "complain.h"

namespace notellm::internal {
namespace {

constexpr std::string_view kRemedy = "; try to save it as UTF-8";

unsigned char byte_of(char c) { return static_cast<unsigned char>(c); }

std::string hexadecimal(unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

// The place of a byte: its line, and where it is in the line, both from 1.
struct Place {
  Place(std::string_view text, size_t at)
      : line(static_cast<int>(std::count(text.begin(), text.begin() + at, '\n')) + 1),
        byte(at - (line == 1 ? 0 : text.rfind('\n', at - 1) + 1) + 1) {}
  int line;
  size_t byte;
};

// From zero bytes yaml-cpp would conclude that the text is UTF-16 or UTF-32.
void check_encoding(std::string_view text, const std::string& name) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    complain(name, 1, "text must be UTF-8, but begins like UTF-16", kRemedy);
  }
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text.substr(at));
    if (length > 0 && text[at] != '\0') {
      at += length;
      continue;
    }
    const Place place(text, at);
    complain(name, place.line, "text must be UTF-8, but byte ", place.byte, " is ",
             hexadecimal(byte_of(text[at])), kRemedy);
  }
}

// YAML 1.1 breaks lines at these characters, YAML 1.2 does not: OmegaConf and yaml-cpp would read
// different texts.
void check_line_breaks(std::string_view text, const std::string& name) {
  for (const char* separator : {"\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"}) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) continue;
    complain(name, Place(text, at).line,
             "the line separators U+0085, U+2028 and U+2029 are not supported; use a newline");
  }
}

// Whether a second byte follows this first one: what is longer than it need be, half a surrogate
// pair, and what is beyond Unicode are no characters.
bool may_follow(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0;
    case 0xED:
      return second < 0xA0;
    case 0xF0:
      return second >= 0x90;
    case 0xF4:
      return second < 0x90;
    default:
      return true;
  }
}

}  // namespace

size_t character_length(std::string_view text) {
  const unsigned char first = byte_of(text[0]);
  const size_t length = first < 0x80   ? 1
                        : first < 0xC2 ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte_of(text[i]) & 0xC0) != 0x80) return 0;
  }
  return length < 2 || may_follow(first, byte_of(text[1])) ? length : 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string readable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t length = character_length(text);
    result += length == 0 ? "?" : text.substr(0, length);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

void check_text(std::string_view text, const std::string& name) {
  check_encoding(text, name);
  check_line_breaks(text, name);
}

}  // namespace notellm::internal
