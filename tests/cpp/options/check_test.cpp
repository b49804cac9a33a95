#include "notellm/options/check.h"

#include <gtest/gtest.h>

#include <cmath>

#include "notellm/options/yaml.h"
#include "notellm/util/check.h"

namespace notellm {
namespace {

// One option of every type; the tests change single lines of a file that gives them all.
std::vector<OptionGroup> groups() {
  return {{"",
           "Keys of no group.",
           {{"name", std::string("run"), "Of the run.", anything().not_empty()},
            {"seed", int64_t{0}, "Of all draws.", at_least(0)}}},
          {"loss",
           "The loss.",
           {{"alpha", 0.01, "A weight.", at_least(0)},
            {"share", 0.4, "A share.", {.low = 0, .high = 1, .excludes_high = true}},
            {"limit", 1.0, "A limit.", above(0).or_infinite()},
            {"masks", true, "Whether.", anything()},
            {"ties", std::string("mean"), "A choice.", {.choices = {"mean", "best", "worst"}}},
            {"ks",
             std::vector<int64_t>{1, 10},
             "Cut-offs.",
             {.low = 1, .must_not_be_empty = true, .must_differ = true}},
            {"pieces", std::vector<std::string>{}, "Texts.", anything()}}}};
}

constexpr std::string_view kComplete = R"(name: test
seed: 7
loss:
  alpha: 1e-2
  share: 0.25
  limit: .inf
  masks: yes
  ties: best
  ks: [1, 5]
  pieces: [a, 'b', no]
)";

std::string with(const std::string& before, const std::string& after) {
  std::string text(kComplete);
  const size_t at = text.find(before);
  if (at == std::string::npos) throw std::logic_error("the test's text is not in the file");
  return text.replace(at, before.size(), after);
}

GroupValues checked(const std::string& text, CheckOptions options = {.name = "c.yaml"}) {
  return check(parse_yaml(text, "c.yaml"), groups(), options);
}

std::string refusal(const std::string& text) {
  try {
    checked(text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(CheckOptions, ReadsEveryType) {
  const GroupValues values = checked(std::string(kComplete));
  EXPECT_EQ(std::get<std::string>(values.at("").at("name")), "test");
  EXPECT_EQ(std::get<int64_t>(values.at("").at("seed")), 7);
  const OptionValues& loss = values.at("loss");
  EXPECT_EQ(std::get<double>(loss.at("alpha")), 0.01);
  EXPECT_TRUE(std::isinf(std::get<double>(loss.at("limit"))));
  EXPECT_TRUE(std::get<bool>(loss.at("masks")));
  EXPECT_EQ(std::get<std::vector<int64_t>>(loss.at("ks")), (std::vector<int64_t>{1, 5}));
  EXPECT_EQ(std::get<std::vector<std::string>>(loss.at("pieces")),
            (std::vector<std::string>{"a", "b", "no"}));
  EXPECT_EQ(std::get<double>(checked(with("alpha: 1e-2", "alpha: 3")).at("loss").at("alpha")), 3.0);
  EXPECT_EQ(std::get<std::string>(checked(with("name: test", "name: 12")).at("").at("name")), "12");
}

TEST(CheckOptions, OffersTheNearestNameForAnUnknownKey) {
  EXPECT_EQ(refusal(with("  alpha", "  alhpa")),
            "c.yaml:4: unknown key loss.alhpa; did you mean loss.alpha?");
  EXPECT_EQ(refusal(with("seed: 7", "alpha: 7")),
            "c.yaml:2: unknown key alpha; did you mean loss.alpha?");
  EXPECT_EQ(refusal(with("seed: 7", "zebra: 7")), "c.yaml:2: unknown key zebra");
}

TEST(CheckOptions, RefusesAMissingKeyUnlessItFillsIn) {
  EXPECT_EQ(refusal(with("  alpha: 1e-2\n", "")), "c.yaml:4: loss.alpha is missing");
  EXPECT_EQ(refusal("name: a\nseed: 1\n"), "c.yaml:1: loss is missing");
  const GroupValues values = checked("seed: 1\n", {.name = "c.yaml", .fills_in = true});
  EXPECT_EQ(std::get<std::string>(values.at("").at("name")), "run");
  EXPECT_EQ(std::get<double>(values.at("loss").at("share")), 0.4);
}

TEST(CheckOptions, SkipsWhatOthersReadWhereItMay) {
  const std::string text = std::string(kComplete) + "train: {lr: fast}\n";
  EXPECT_EQ(refusal(text), "c.yaml:11: unknown key train");
  EXPECT_EQ(
      std::get<int64_t>(checked(text, {.name = "c.yaml", .skips_others = true}).at("").at("seed")),
      7);
}

TEST(CheckOptions, SkipsNothingWithinAKnownGroup) {
  EXPECT_THROW(checked(with("  alpha", "  alhpa"), {.name = "c.yaml", .skips_others = true}),
               ConfigError);
  EXPECT_THROW(checked(with("  masks", "  zebra: 1\n  masks"), {.skips_others = true}),
               ConfigError);
}

TEST(CheckOptions, RefusesAWrongType) {
  EXPECT_EQ(refusal(with("seed: 7", "seed: 7.5")), "c.yaml:2: seed must be an integer, but is 7.5");
  EXPECT_EQ(refusal(with("seed: 7", "seed: '7'")),
            "c.yaml:2: seed must be an integer, but is the text '7'");
  EXPECT_EQ(refusal(with("seed: 7", "seed: 017")), "c.yaml:2: seed must be an integer, but is 017");
  EXPECT_EQ(refusal(with("seed: 7", "seed: 99999999999999999999")),
            "c.yaml:2: seed must be an integer, but is 99999999999999999999");
  EXPECT_EQ(refusal(with("alpha: 1e-2", "alpha: yes")),
            "c.yaml:4: loss.alpha must be a number, but is yes");
  EXPECT_EQ(refusal(with("masks: yes", "masks: 1")),
            "c.yaml:7: loss.masks must be true or false, but is 1");
  EXPECT_EQ(refusal(with("name: test", "name: ~")), "c.yaml:1: name must be a text, but is null");
  EXPECT_EQ(refusal(with("name: test", "name:")), "c.yaml:2: name must be a text, but is null");
  EXPECT_EQ(refusal(with("ks: [1, 5]", "ks: 5")), "c.yaml:9: loss.ks must be a list, but is 5");
  EXPECT_EQ(refusal(with("ks: [1, 5]", "ks: [1, x]")),
            "c.yaml:9: loss.ks[1] must be an integer, but is x");
  EXPECT_EQ(refusal("name: a\nseed: 1\nloss: 3\n"),
            "c.yaml:3: loss must be a group of keys, but is 3");
}

TEST(CheckOptions, RefusesAValueOutOfRange) {
  EXPECT_EQ(refusal(with("alpha: 1e-2", "alpha: -0.5")),
            "c.yaml:4: loss.alpha must be at least 0, but is -0.5");
  EXPECT_EQ(refusal(with("alpha: 1e-2", "alpha: .nan")),
            "c.yaml:4: loss.alpha must be finite, but is nan");
  EXPECT_EQ(refusal(with("alpha: 1e-2", "alpha: .inf")),
            "c.yaml:4: loss.alpha must be finite, but is inf");
  EXPECT_EQ(refusal(with("limit: .inf", "limit: .nan")),
            "c.yaml:6: loss.limit must be finite, but is nan");
  EXPECT_EQ(refusal(with("limit: .inf", "limit: 0")),
            "c.yaml:6: loss.limit must be above 0, but is 0");
  EXPECT_EQ(refusal(with("share: 0.25", "share: 1")),
            "c.yaml:5: loss.share must be below 1, but is 1");
  EXPECT_EQ(refusal(with("share: 0.25", "share: 1.25")),
            "c.yaml:5: loss.share must be at most 1, but is 1.25");
  EXPECT_EQ(refusal(with("ks: [1, 5]", "ks: [1, 0]")),
            "c.yaml:9: loss.ks[1] must be at least 1, but is 0");
  EXPECT_EQ(refusal(with("ks: [1, 5]", "ks: [1, 5, 1]")),
            "c.yaml:9: loss.ks must hold each value once, but holds 1 more than once");
  EXPECT_EQ(refusal(with("ks: [1, 5]", "ks: []")), "c.yaml:9: loss.ks must not be empty");
  EXPECT_EQ(refusal(with("ties: best", "ties: middle")),
            "c.yaml:8: loss.ties must be mean, best or worst, but is 'middle'");
  EXPECT_EQ(refusal(with("name: test", "name: ''")), "c.yaml:1: name must not be empty");
}

TEST(CheckOptions, WritesWholeNumbersWithoutExponent) {
  const std::vector<OptionGroup> bounded = {
      {"",
       "Keys of no group.",
       {{"rows", int64_t{1}, "Of a block.", {.low = 1, .high = 1'048'576}},
        {"seed", int64_t{0}, "Of all draws.", at_least(0)},
        {"share", 0.5, "A share.", {.low = 0, .high = 100'000}}}}};
  const auto said = [&](const std::string& text) -> std::string {
    try {
      check(parse_yaml(text, "c.yaml"), bounded, {.name = "c.yaml", .fills_in = true});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(said("rows: 10000000"), "c.yaml:1: rows must be at most 1048576, but is 10000000");
  EXPECT_EQ(said("seed: -9223372036854775807"),
            "c.yaml:1: seed must be at least 0, but is -9223372036854775807");
  EXPECT_EQ(said("share: 2e6"), "c.yaml:1: share must be at most 100000, but is 2000000");
  EXPECT_EQ(said("share: 1e30"), "c.yaml:1: share must be at most 100000, but is 1e+30");
  EXPECT_EQ(said("share: -0.25"), "c.yaml:1: share must be at least 0, but is -0.25");
}

TEST(CheckOptions, KeysAreDottedAndInTheGivenOrder) {
  const std::vector<std::string> keys = keys_of(groups());
  EXPECT_EQ(keys[0], "name");
  EXPECT_EQ(keys[2], "loss.alpha");
  for (const std::string& key : keys) EXPECT_EQ(unknown_key(groups(), key), "");
  EXPECT_EQ(unknown_key(groups(), "loss"), "");
  EXPECT_EQ(unknown_key(groups(), std::string(100'000, 'x')).size(), 100'012u);  // at once
}

TEST(ToYaml, IsReadBackUnchanged) {
  GroupValues values = checked(std::string(kComplete));
  values["loss"]["pieces"] =
      std::vector<std::string>{"",     "yes",      "1e3",          "a: b",     "# no comment",
                               "\n",   "\n\n",     "tab\t",        "\"q\" \\", "小红书",
                               "\x01", "\xC2\x85", "\xE2\x80\xA8", "~",        "null",
                               "- a",  "0x1F",     "a b",          "%",        "@x",
                               "{",    "é"};
  values["loss"]["alpha"] = 1e-300;
  values["loss"]["limit"] = 3e22;
  const std::string text = to_yaml(groups(), values);
  EXPECT_EQ(checked(text), values) << text;
  EXPECT_NE(text.find("alpha: 1.0e-300\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace notellm
