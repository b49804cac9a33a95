#include "retrieval/bf16_filter.h"
#include "tensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

// How far scores of rounded factors may be from exact ones; no processor with AMX is needed.
namespace notellm::internal {
namespace {

Vectors numbers(const std::vector<float>& values) {
  return to_vectors("test", "numbers", at::tensor(values).reshape({-1, 1}));
}

float in_bf16(float value) { return static_cast<float>(c10::BFloat16(value)); }

TEST(Bf16Bounds, HoldForEveryFiniteNumber) {
  const std::vector<float> values = {0.1F,
                                     0.2F,
                                     1.0F,
                                     3e37F,
                                     1e38F,
                                     3.38e38F,
                                     3.3895e38F,
                                     3.392e38F,
                                     3.396e38F,
                                     3.397e38F,
                                     3.4e38F,
                                     -3.4e38F,
                                     std::numeric_limits<float>::max()};
  const std::vector<float> others = {0.1F, 0.2F, -0.2F, 1.0F};
  for (const float note : others) {
    const Bf16Bounds bounds(numbers(values), numbers({note}));
    const Bf16Bounds turned(numbers({note}), numbers(values));
    for (size_t i = 0; i < values.size(); ++i) {
      const double coarse = in_bf16(values[i]) * in_bf16(note);
      const double exact = double{values[i]} * double{note};
      EXPECT_LE(std::abs(coarse - exact), bounds.coarse(i)) << values[i] << " " << note;
      EXPECT_LE(std::abs(coarse - exact), turned.coarse(0)) << values[i] << " " << note;
      EXPECT_EQ(std::isinf(bounds.fine(i)), std::isinf(bounds.coarse(i))) << values[i];
    }
  }
}

TEST(Bf16Bounds, AreInfiniteForThoseAloneThatMayOverflow) {
  const Bf16Bounds bounds(numbers({3.4e38F, 1.0F}), numbers({0.1F, 0.2F}));
  EXPECT_TRUE(std::isinf(bounds.coarse(0)));
  EXPECT_TRUE(std::isinf(bounds.fine(0)));
  EXPECT_TRUE(std::isfinite(bounds.coarse(1)));
  EXPECT_TRUE(std::isfinite(bounds.fine(1)));
}

// torch.set_float32_matmul_precision: the products of usual tiles then round their factors, too.
TEST(TileBound, IsInfiniteWhereRoundedFactorsMayOverflow) {
  const Vectors queries = numbers({3.4e38F}), pool = numbers({0.1F, 0.2F});
  EXPECT_TRUE(std::isfinite(TileBound(queries, pool, {1, 0.0})(0)));
  EXPECT_TRUE(std::isinf(TileBound(queries, pool, {1, 1.0 / 64})(0)));
}

TEST(FilterTiles, KeepBoundedMemory) {
  constexpr int64_t kThreads = 64, kOfAQuery = 8192;  // of a thread
  EXPECT_GT(filter_tiles({}, 32).queries * kThreads * kOfAQuery, kMostKeptBytes);
  for (const int64_t wanted : {0, 1, 33, 1 << 20}) {
    const TileOptions tiles = filter_tiles({wanted, 0, {}}, 32, kThreads * kOfAQuery);
    EXPECT_LE(tiles.queries * kThreads * kOfAQuery, kMostKeptBytes);
    EXPECT_GT(tiles.queries, 0);
    EXPECT_EQ(tiles.queries % kernels::kTileBlock, 0);
  }
  EXPECT_EQ(filter_tiles({1000, 7, {}}, 32, 1).queries, 1024);
  EXPECT_EQ(filter_tiles({}, 32, int64_t{1} << 40).queries, kernels::kTileBlock);
}

}  // namespace
}  // namespace notellm::internal
