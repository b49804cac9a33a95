#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "notellm/config/yaml.h"

namespace notellm {
namespace {

// What a plain scalar must mean; OmegaConf's own answers are compared in
// tests/python/config/test_yaml.py.
template <typename T>
T resolved(std::string_view text) {
  return std::get<T>(resolve_plain_scalar(text));
}

TEST(ResolvePlainScalar, KnowsBooleansInThreeCasesOnly) {
  EXPECT_TRUE(resolved<bool>("yes"));
  EXPECT_TRUE(resolved<bool>("On"));
  EXPECT_FALSE(resolved<bool>("OFF"));
  EXPECT_FALSE(resolved<bool>("no"));
  EXPECT_EQ(resolved<std::string>("yEs"), "yEs");
  EXPECT_EQ(resolved<std::string>("y"), "y");
}

TEST(ResolvePlainScalar, KnowsNull) {
  for (const char* text : {"", "~", "null", "Null", "NULL"}) {
    EXPECT_NO_THROW(resolved<std::monostate>(text)) << text;
  }
  EXPECT_EQ(resolved<std::string>("nULL"), "nULL");
}

TEST(ResolvePlainScalar, KnowsIntegersInEveryBase) {
  EXPECT_EQ(resolved<int64_t>("-12"), -12);
  EXPECT_EQ(resolved<int64_t>("1_000"), 1000);
  EXPECT_EQ(resolved<int64_t>("017"), 15);
  EXPECT_EQ(resolved<int64_t>("-0x1F"), -31);
  EXPECT_EQ(resolved<int64_t>("0b101"), 5);
  EXPECT_EQ(resolved<int64_t>("1:30:01"), 5401);
  EXPECT_EQ(resolved<int64_t>("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(resolved<std::string>("08"), "08");
}

TEST(ResolvePlainScalar, KnowsNumbersWithExponentsButNoDot) {
  EXPECT_EQ(resolved<double>("1e-3"), 1e-3);
  EXPECT_EQ(resolved<double>("3.0e-06"), 3e-6);
  EXPECT_EQ(resolved<double>("-1."), -1.0);
  EXPECT_EQ(resolved<double>(".5"), 0.5);
  EXPECT_EQ(resolved<double>("1:30.5"), 90.5);
  EXPECT_EQ(resolved<double>("-.inf"), -INFINITY);
  EXPECT_TRUE(std::isnan(resolved<double>(".nan")));
  EXPECT_EQ(resolved<std::string>("-.5"), "-.5");
  EXPECT_EQ(resolved<std::string>("1e"), "1e");
}

TEST(ResolvePlainScalar, TakesTheRestAsStrings) {
  for (const char* text : {"2026-01-31", "1.2.3", "runs/demo", "=", "<<", "0x", "0b_", "1 2"}) {
    EXPECT_EQ(resolved<std::string>(text), text);
  }
}

TEST(ResolvePlainScalar, RefusesNumbersThatDoNotFit) {
  EXPECT_THROW(resolve_plain_scalar("9223372036854775808"), std::out_of_range);
  EXPECT_THROW(resolve_plain_scalar("-9223372036854775809"), std::out_of_range);
  EXPECT_THROW(resolve_plain_scalar("9223372036854775807:30"), std::out_of_range);
  EXPECT_THROW(resolve_plain_scalar("1e999"), std::out_of_range);
}

}  // namespace
}  // namespace notellm
