#include "notellm/ops/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

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

}  // namespace
}  // namespace notellm
