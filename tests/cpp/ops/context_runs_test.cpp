#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "notellm/ops/segment_attention.h"
#include "tensors.h"

namespace notellm {
namespace {

// What flash attention over unequal lengths is defined to give, causal from the end, run by run.
at::Tensor by_contexts(const at::Tensor& queries,
                       const at::Tensor& keys,
                       const at::Tensor& values,
                       const AttentionRuns& runs) {
  std::vector<at::Tensor> outputs;
  for (int64_t s = 0; s + 1 < runs.query_offsets.size(0); ++s) {
    const auto bounds = [s](const at::Tensor& offsets) {
      return std::pair(offsets[s].item<int>(), offsets[s + 1].item<int>());
    };
    const auto [first, end] = bounds(runs.query_offsets);
    const auto [from, to] = bounds(runs.key_offsets);
    const at::Tensor rows = runs.key_rows.slice(0, from, to);
    const at::Tensor q = queries.slice(0, first, end).transpose(0, 1);  // (H, q, E)
    const at::Tensor k = keys.index_select(0, rows).permute({1, 2, 0});
    const at::Tensor hidden =
        at::ones({end - first, to - from}, at::kBool).triu((to - from) - (end - first) + 1);
    const at::Tensor scores = (at::matmul(q, k) / std::sqrt(double(queries.size(2))))
                                  .masked_fill(hidden, -std::numeric_limits<double>::infinity());
    outputs.push_back(at::matmul(scores.softmax(-1), values.index_select(0, rows).transpose(0, 1))
                          .transpose(0, 1)
                          .flatten(1));
  }
  return at::cat(outputs);
}

TEST(ContextRuns, AttentionOverThemIsThatOfTheForest) {
  at::manual_seed(3);
  const Segments segments({0, 3, 4, 6, 11, 12, 17}, {-1, 0, 1, 0, -1, 3});
  const auto random = [] { return at::randn({17, 2, 8}, at::kDouble); };
  const at::Tensor queries = random(), keys = random(), values = random();
  const ComposedAttentionPlan plan =
      plan_composed_attention(segments, at::TensorOptions().dtype(at::kDouble));
  const at::Tensor expected = composed_attention(queries, keys, values, plan);
  const AttentionRuns runs = context_runs(segments, at::kCPU);
  EXPECT_TRUE(at::allclose(by_contexts(queries, keys, values, runs), expected, 0, 1e-12));
}

TEST(ContextRuns, AncestorsComeFirst) {
  const AttentionRuns runs = context_runs(Segments({0, 2, 3, 5}, {-1, 0, 1}), at::kCPU);
  EXPECT_TRUE(at::equal(runs.key_rows, at::tensor({0, 1, 0, 1, 2, 0, 1, 2, 3, 4}, at::kLong)));
  EXPECT_FALSE(runs.query_rows.defined());
  EXPECT_TRUE(at::equal(runs.query_offsets, at::tensor({0, 2, 3, 5}, at::kInt)));
  EXPECT_TRUE(at::equal(runs.key_offsets, at::tensor({0, 2, 5, 10}, at::kInt)));
  EXPECT_EQ(runs.longest_queries, 2);
  EXPECT_EQ(runs.longest_keys, 5);
}

}  // namespace
}  // namespace notellm
