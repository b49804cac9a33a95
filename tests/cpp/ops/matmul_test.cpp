#include "notellm/ops/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "notellm/kernels/instruction_set.h"

namespace notellm {
namespace {

TEST(WholeRows, AddLittleAndTakeFewValues) {
  EXPECT_EQ(whole_rows(0), 0);
  EXPECT_EQ(whole_rows(1), 8);
  EXPECT_EQ(whole_rows(8), 8);
  EXPECT_EQ(whole_rows(1951), 1952);
  std::set<int64_t> values;
  for (int64_t rows = 1; rows <= 8192; ++rows) {
    const int64_t whole = whole_rows(rows);
    EXPECT_GE(whole, rows);
    EXPECT_LE(whole, rows + std::max<int64_t>(7, rows / 32));
    EXPECT_EQ(whole_rows(whole), whole);
    values.insert(whole);
  }
  EXPECT_LE(values.size(), 200U);
}

// Rounding the sum of product and bias is all that is done to it.
TEST(MatmulTransposed, RoundsBf16OnceWithItsBias) {
  set_instruction_set("baseline");
  const at::Tensor x = at::randn({5, 12}).to(at::kBFloat16), weight = at::randn({7, 12});
  const at::Tensor bias = at::randn({7}).to(at::kBFloat16);
  const at::Tensor kept = for_products(weight, at::kBFloat16);
  const at::Tensor exact = at::linear(x.to(at::kFloat), kept, bias.to(at::kFloat));
  const at::Tensor expected = exact.to(at::kBFloat16);
  EXPECT_TRUE(matmul_transposed(x, kept, bias).equal(expected));
  EXPECT_TRUE(matmul_transposed(x, weight.to(at::kBFloat16), bias).equal(expected));
  const at::Tensor wide = for_products(x, at::kBFloat16);
  EXPECT_EQ(wide.scalar_type(), at::kFloat);
  EXPECT_TRUE(matmul_transposed(wide, kept, bias, at::kBFloat16).equal(expected));
  set_instruction_set("");
}

}  // namespace
}  // namespace notellm
