#include "notellm/options/described.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "notellm/run/run_options.h"

namespace notellm {
namespace {

enum class Kind { kFirst, kSecond };
constexpr auto names_of(Kind) {
  return std::array{std::pair{"first", Kind::kFirst}, std::pair{"second", Kind::kSecond}};
}

struct MadeUp {
  int64_t count = 3;
  Kind kind = Kind::kSecond;
  int undescribed = 9;

  static constexpr const char* kMeaning = "Made up.";
  template <typename Visit>
  static void describe(Visit&& option) {
    option("count", &MadeUp::count, "How many.", at_least(1).in("things").decides_cost());
    option("kind", &MadeUp::kind, "Which.", anything());
  }
  std::string mismatch() const { return count == 13 ? "count must not be 13" : ""; }
};

TEST(Described, AStructIsData) {
  const OptionGroup group = described<MadeUp>("made_up");
  ASSERT_EQ(group.options.size(), 2u);
  EXPECT_EQ(group.options[0].facts.unit, "things");
  EXPECT_EQ(group.options[0].facts.decides, Decides::kCost);
  EXPECT_EQ(std::get<std::string>(group.options[1].standard), "second");
  EXPECT_EQ(group.options[1].facts.choices, (std::vector<std::string>{"first", "second"}));
}

TEST(Described, ValuesMakeTheStructTheyCameFrom) {
  MadeUp one;
  one.count = 5;
  one.kind = Kind::kFirst;
  const auto again = made_of<MadeUp>(values_of(one), "MadeUp");
  EXPECT_EQ(again.count, 5);
  EXPECT_EQ(again.kind, Kind::kFirst);
  EXPECT_EQ(again.undescribed, 9);
}

TEST(Described, AStructFilledByHandIsHeldAgainstItsDescription) {
  validate(MadeUp(), "mine");
  MadeUp wrong;
  wrong.count = 0;
  try {
    validate(wrong, "mine");
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "mine: count must be at least 1, but is 0");
  }
  wrong.count = 13;
  EXPECT_THROW(validate(wrong, "mine"), ConfigError);
}

TEST(RunOptions, AreReadFromARunsConfigurationWhateverElseItHolds) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("notellm_run_options_" + std::to_string(getpid()) + ".yaml");
  std::ofstream(path)
      << "seed: 3\ntrain: {lr: 1.0e-5}\n"
         "mining: {score: notellm, lower: 0.5, upper: 2, top: 3, min_users: 1, max_user_events: 0,"
         " max_gap_seconds: 0, max_gap_events: 0}\n"
         "embed: {batch_tokens: 128, weights: int8}\n"
         "generation: {hashtag_count: 2, max_new_tokens: 8, batch_tokens: 64,"
         " beams: 4, length_penalty: 1, temperature: 0, top_k: 0, top_p: 1,"
         " repetition_penalty: 1}\n";
  const RunOptions options = read_run_options(path);
  EXPECT_EQ(options.mining.lower, 0.5);
  EXPECT_EQ(options.embed.weights, WeightStorage::kInt8);
  EXPECT_EQ(options.generation.beams, 4);
  std::filesystem::remove(path);
  EXPECT_THROW(read_run_options(path), ConfigError);
}

}  // namespace
}  // namespace notellm
