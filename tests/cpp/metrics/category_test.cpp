#include "notellm/metrics/category.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace notellm {
namespace {

TEST(CategoryScores, TellWrongFromInvented) {
  const std::vector<std::string> generated = {"web", "mail", "Web", ""};
  const std::vector<std::string> truth = {"web", "web", "web", "web"}, known = {"web", "mail"};
  const CategoryScores scores = category_scores(generated, truth, known);
  EXPECT_EQ(scores.correct, (std::vector<double>{1, 0, 0, 0}));
  EXPECT_EQ(scores.illusory, (std::vector<double>{0, 0, 1, 1}));
  EXPECT_THROW(category_scores(generated, known, known), std::invalid_argument);
}

TEST(Confusion, CountsInventionsLast) {
  using Words = std::vector<std::string>;
  const auto counts =
      confusion(Words{"b", "a", "?", "b"}, Words{"a", "a", "b", "b"}, Words{"a", "b"});
  EXPECT_EQ(counts, (std::vector<int64_t>{1, 1, 0, 0, 1, 1}));
  EXPECT_THROW(confusion(Words{"a"}, Words{"x"}, Words{"a"}), std::invalid_argument);
}

}  // namespace
}  // namespace notellm
