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

}  // namespace
}  // namespace notellm
