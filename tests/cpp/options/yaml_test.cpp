#include "notellm/options/yaml.h"

#include <gtest/gtest.h>

#include "notellm/util/check.h"

namespace notellm {
namespace {

std::string complaint(std::string_view text, const std::string& name = "a.yaml") {
  try {
    parse_yaml(text, name);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ParseYaml, KeepsOrderLinesAndTypes) {
  const Tree tree = parse_yaml("b: 1\na:\n  - x\n  - 2.5\nc: 'yes'\n", "a.yaml");
  const auto& entries = std::get<Tree::Map>(tree.content);
  ASSERT_EQ(entries.size(), 3);
  EXPECT_EQ(entries[0].key, "b");
  EXPECT_EQ(entries[1].line, 2);
  EXPECT_EQ(describe(entries[0].value), "1");
  EXPECT_EQ(describe(entries[2].value), "the text 'yes'");
  const auto& items = std::get<Tree::List>(entries[1].value.content);
  ASSERT_EQ(items.size(), 2);
  EXPECT_EQ(items[1].line, 4);
  EXPECT_EQ(describe(items[1]), "2.5");
}

TEST(ParseYaml, DescribesEveryKind) {
  EXPECT_EQ(describe(parse_yaml("", "a.yaml")), "null");
  EXPECT_EQ(describe(parse_yaml("off", "a.yaml")), "off");
  EXPECT_EQ(describe(parse_yaml("[1]", "a.yaml")), "a list");
  EXPECT_EQ(describe(parse_yaml("{a: 1}", "a.yaml")), "a group of keys");
}

TEST(ParseYaml, NamesFileAndLineOfWhatItRefuses) {
  EXPECT_EQ(complaint("a: 1\nb: 2\na: 3\n"), "a.yaml:3: the key a is given twice, first on line 1");
  EXPECT_EQ(complaint("a: 1\nb: !!str 2\n"),
            "a.yaml:2: explicit tags are not supported, but found tag:yaml.org,2002:str");
  EXPECT_EQ(complaint("a: 1\n? [b]\n: 2\n"), "a.yaml:2: a key must be plain text");
  EXPECT_EQ(complaint("a: 1\n---\nb: 1\n"),
            "a.yaml:2: a file must hold one document, but here begins another");
}

TEST(ParseYaml, SpeaksUtf8OfWhatIsNot) {
  EXPECT_EQ(complaint(std::string("a: 1\nb: ") + '\0'),
            "a.yaml:2: text must be UTF-8, but byte 4 is 0x00; try to save it as UTF-8");
  for (const char* text : {"a: !\xF0 x\n", "a: *\xF0\n", "a: !<\xF0> x\n", "\xF0: 1\n"}) {
    EXPECT_EQ(complaint(text).find('\xF0'), std::string::npos) << text;
  }
}

TEST(ParseYaml, EndsWhereNothingIsADocument) {
  for (const char* text : {",", "]", "}", "a: 1\n,", "[1]]"}) {
    EXPECT_THROW(parse_yaml(text, "a.yaml"), ConfigError) << text;
  }
  EXPECT_TRUE(std::holds_alternative<std::monostate>(parse_yaml("", "a.yaml").content));
}

TEST(ParseYaml, RefusesTextThatReadersTakeDifferently) {
  const std::string separators =
      "a.yaml:2: the line separators U+0085, U+2028 and U+2029 are not supported; use a newline";
  EXPECT_EQ(complaint("a: 1\nb: 'x\xE2\x80\xA8y'"), separators);
  EXPECT_EQ(complaint("a: 1\nb: x\xC2\x85y"), separators);
  EXPECT_EQ(complaint("a: 1\nb: caf\xE9"),
            "a.yaml:2: text must be UTF-8, but byte 7 is 0xe9; try to save it as UTF-8");
  EXPECT_EQ(complaint("a: 1\nb: \"\\N\""), "a.yaml:2: text must be UTF-8, but is not");
  EXPECT_EQ(complaint("caf\xE9: 1"),
            "a.yaml:1: text must be UTF-8, but byte 4 is 0xe9; try to save it as UTF-8");
  EXPECT_EQ(complaint("a: \xE7\xAC\x94\xE8\xAE\xB0"), "no error");
}

TEST(ParseYaml, LosesNoLineBreaks) {
  const std::string refused =
      "a.yaml:2: a text of line breaks alone must be written with \\n in double quotes";
  for (const char* quoted : {"'\n\n  '", "\"\n\n\n  \"", "&x '\n\n  '"}) {
    EXPECT_EQ(complaint(std::string("b: 1\na: ") + quoted), refused);
    EXPECT_EQ(complaint("\uFEFF" + ("b: 1\na: " + std::string(quoted))), refused);
  }
  for (const char* empty : {"''", "\"\"", "&x ''", "|", "|\nc: 'd'"}) {
    EXPECT_EQ(complaint(std::string("\xE7\xAC\x94: 1\na: ") + empty), "no error");
  }
  EXPECT_EQ(describe(parse_yaml("\"\\n\"", "a.yaml")), "the text '\n'");
  EXPECT_EQ(complaint("a: ''\nb: [\"\", '', x]"), "no error");
}

// A tag alone makes an empty text; what stands behind it is another value's.
TEST(ParseYaml, TakesNoOtherTextForAnEmptyOne) {
  for (const char* empty : {"&x !\n", "!\n", "! &x\n", "&x !\nb: 'q'", "!\nb: 'q'", "!\n'b': 'q'",
                            "&x !\n'b': 1", "&x !\n\"b\\\\\": 1", "&x ! ''", "! &x \"\"\nb: 'q'"}) {
    EXPECT_EQ(complaint(std::string("a: ") + empty), "no error") << empty;
  }
  for (const char* lost : {"! '\n\n  '", "! &x '\n\n  '", "&x ! \"\n\n\"\nb: 'q'"}) {
    EXPECT_EQ(complaint(std::string("a: ") + lost),
              "a.yaml:1: a text of line breaks alone must be written with \\n in double quotes")
        << lost;
  }
}

TEST(ParseYaml, BoundsWhatAnchorsStandFor) {
  EXPECT_EQ(complaint("a: &x [*x]"), "a.yaml:1: values must be at most 16 deep");
  std::string bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 8; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "b" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 1; j < 10; ++j) bomb += ", " + before;
    bomb += "]\n";
  }
  EXPECT_TRUE(complaint(bomb).ends_with("a file must hold at most 100000 values"));
}

TEST(ParseYaml, RefusesWhatPythonsDecoderRefuses) {
  for (const char* bytes : {"\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                            "\xC1\xBF", "\xF5\x80\x80\x80", "\xE2\x82", "\x80"}) {
    const std::string said = complaint(std::string("a: 1\n") + bytes);
    EXPECT_TRUE(said.starts_with("a.yaml:2: text must be UTF-8, but byte 1 is 0x")) << said;
  }
  for (const char* bytes :
       {"\xE0\xA0\x80", "\xED\x9F\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(complaint(std::string("a: ") + bytes), "no error");
  }
  EXPECT_EQ(complaint("\xFF\xFE" + std::string("a\0", 2)),
            "a.yaml:1: text must be UTF-8, but begins like UTF-16; try to save it as UTF-8");
}

TEST(ParseYaml, SaysWhatBadSyntaxLacks) {
  EXPECT_EQ(
      complaint("a: 1\nb: [1, 2\n\n"),
      "a.yaml:3: the items of a list in [] must be separated by commas and end with ], but in "
      "that of line 2 neither is here");
  EXPECT_EQ(complaint("a: 1\n\tb: 2\n"),
            "a.yaml:2: lines must be indented by spaces, but here is a tab");
}

TEST(ParseYaml, RefusesQuotesThatAreNotClosed) {
  const std::string refused =
      "a.yaml:2: a text that begins with a quote must end with it, but does not";
  for (const char* open :
       {"'x\nc: 1\n", "\"x\n", "'x", "\"x\\\"\n", "'it''s\n", "&n 'x\n", "! 'x\n", "[1, 'x\n"}) {
    EXPECT_EQ(complaint(std::string("\xE7\xAC\x94: 1\na: ") + open), refused) << open;
  }
  for (const char* closed :
       {"'it''s'\n", "''''\n", "\"x\\\"\"\n", "it's\n", "! &n 'x'\n", "! x 'y\n"}) {
    EXPECT_EQ(complaint(std::string("b: 1\na: ") + closed), "no error") << closed;
  }
}

TEST(ParseYaml, BoundsTheBytesThatAliasesRepeat) {
  std::string bomb = "a: &a " + std::string(100'000, 'x') + "\nb: [";
  for (int i = 0; i < 1000; ++i) bomb += "*a, ";
  EXPECT_TRUE(
      complaint(bomb + "]")
          .ends_with(": a file must hold at most 67108864 bytes of text, repeated ones included"));
}

TEST(ParseYaml, LeavesThePlaceOutForATextWithoutName) {
  EXPECT_EQ(complaint("a: 1\na: 2", ""), "the key a is given twice, first on line 1");
}

}  // namespace
}  // namespace notellm
