#include "notellm/ops/prefix_attention.h"

#include <c10/core/GradMode.h>
#include "tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "heads.h"
#include "notellm/ops/dtypes.h"
#include "notellm/ops/segment_attention.h"
#include "notellm/util/check.h"
#include "run_builder.h"

namespace notellm {
namespace {

using internal::RunBuilder;

// What a part of the keys gives.
struct Attended {
  at::Tensor outputs;   // (q, H, E)
  at::Tensor log_sums;  // (q, H), fp32 or fp64
};

Attended by_flash_attention(const at::Tensor& queries,
                            const at::Tensor& keys,
                            const at::Tensor& values,
                            const AttentionRuns& runs,
                            bool is_causal) {
  const auto result = at::_flash_attention_forward(
      queries.contiguous(), keys.contiguous(), values.contiguous(), runs.query_offsets,
      runs.key_offsets, runs.longest_queries, runs.longest_keys, /*dropout_p=*/0.0, is_causal,
      /*return_debug_mask=*/false);
  const at::Tensor& log_sums = std::get<1>(result);
  if (log_sums.dim() != 2 || log_sums.size(1) != queries.size(0)) {
    internal::throw_error<NotSupportedError>(
        "prefix_attention", "log-sums of flash attention must be of (heads, queries), but are of ",
        log_sums.sizes(), "; try another version of torch");
  }
  return {std::get<0>(result), log_sums.t()};
}

// One run by products of matrices.
Attended by_products(const at::Tensor& queries,
                     const at::Tensor& keys,
                     const at::Tensor& values,
                     bool is_causal) {
  const int64_t heads = queries.size(1);
  const at::ScalarType wide = wide_dtype(queries.scalar_type());
  const auto by_head = [&](const at::Tensor& x) {
    return x.to(wide).transpose(0, 1);
  };  // (H, n, E)
  at::Tensor scores = at::matmul(by_head(queries) / std::sqrt(double(queries.size(2))),
                                 by_head(internal::repeat_heads(keys, heads)).transpose(1, 2));
  if (is_causal) {
    const at::Tensor hidden =
        at::ones({queries.size(0), keys.size(0)}, scores.options().dtype(at::kBool)).triu_(1);
    scores.masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  }
  const at::Tensor log_sums = scores.logsumexp(-1);  // (H, q)
  const at::Tensor weights = (scores - log_sums.unsqueeze(-1)).exp();
  const at::Tensor outputs =
      at::matmul(weights, by_head(internal::repeat_heads(values, heads)));  // (H, q, E)
  return {outputs.transpose(0, 1), log_sums.t()};
}

// The sizes of runs.
std::vector<int64_t> lengths_of(const at::Tensor& offsets) {
  const at::Tensor lengths = offsets.diff().to(at::kCPU, at::kLong).contiguous();
  const auto* const first = lengths.const_data_ptr<int64_t>();
  return {first, first + lengths.numel()};
}

Attended run_by_run(const at::Tensor& queries,
                    const at::Tensor& keys,
                    const at::Tensor& values,
                    const AttentionRuns& runs,
                    bool is_causal) {
  const auto key_lengths = lengths_of(runs.key_offsets);
  const auto q = queries.split_with_sizes(lengths_of(runs.query_offsets));
  const auto k = keys.split_with_sizes(key_lengths), v = values.split_with_sizes(key_lengths);
  std::vector<at::Tensor> outputs, log_sums;
  for (size_t r = 0; r < q.size(); ++r) {
    const Attended own = by_products(q[r], k[r], v[r], is_causal);
    outputs.push_back(own.outputs);
    log_sums.push_back(own.log_sums);
  }
  return {at::cat(outputs), at::cat(log_sums)};
}

Attended attend(const at::Tensor& queries,
                const at::Tensor& keys,
                const at::Tensor& values,
                const AttentionRuns& runs,
                bool is_causal) {
  const auto rows_of = [](const at::Tensor& x, const at::Tensor& rows) {
    return rows.defined() ? x.index_select(0, rows) : x;
  };
  const bool is_flash =
      takes_flash_attention(queries.device(), queries.scalar_type(), queries.size(2));
  return (is_flash ? by_flash_attention : run_by_run)(
      rows_of(queries, runs.query_rows), rows_of(keys, runs.key_rows),
      rows_of(values, runs.key_rows), runs, is_causal);
}

// Merges what some queries found in another part into what they had.
void merge(Attended& all, const Attended& part, const at::Tensor& query_rows) {
  const at::Tensor before = all.log_sums.index_select(0, query_rows);
  const at::Tensor after = before.logaddexp(part.log_sums);
  const auto weighted = [&](const at::Tensor& outputs, const at::Tensor& log_sums) {
    return outputs * (log_sums - after).exp_().unsqueeze(-1);
  };
  all.outputs.index_copy_(0, query_rows,
                          weighted(all.outputs.index_select(0, query_rows), before)
                              .add_(weighted(part.outputs, part.log_sums)));
  all.log_sums.index_copy_(0, query_rows, after);
}

}  // namespace

PrefixLevels prefix_levels(const Segments& segments, at::Device device) {
  const int64_t count = segments.count();
  std::vector<std::vector<int64_t>> descendants(count);
  std::vector<int64_t> depths(count);
  constexpr const char* where = "prefix_levels";
  RunBuilder own(where);
  for (int64_t s = 0; s < count; ++s) {
    own.add_queries(segments.begin(s), segments.length(s));
    own.add_keys(segments.begin(s), segments.length(s));
    own.close();
    for (int64_t above = segments.parent(s); above >= 0; above = segments.parent(above)) {
      descendants[above].push_back(s);
      ++depths[s];
    }
  }
  if (count == 0) return {own.finish(device, RunBuilder::Named::kNone), {}};
  std::vector<RunBuilder> builders(1 + *std::ranges::max_element(depths), RunBuilder(where));
  for (int64_t s = 0; s < count; ++s) {
    if (descendants[s].empty()) continue;
    RunBuilder& level = builders[depths[s]];
    for (const int64_t below : descendants[s])
      level.add_queries(segments.begin(below), segments.length(below));
    level.add_keys(segments.begin(s), segments.length(s));
    level.close();
  }
  builders.pop_back();  // the deepest segments have no descendants
  PrefixLevels levels{own.finish(device, RunBuilder::Named::kNone), {}};
  for (RunBuilder& level : builders) {
    levels.above.push_back(level.finish(device, RunBuilder::Named::kBoth));
  }
  return levels;
}

at::Tensor prefix_attention(const at::Tensor& queries,
                            const at::Tensor& keys,
                            const at::Tensor& values,
                            const PrefixLevels& levels) {
  const bool has_gradient =
      queries.requires_grad() || keys.requires_grad() || values.requires_grad();
  internal::require(!(at::GradMode::is_enabled() && has_gradient), "prefix_attention",
                    "prefixes must be merged without gradients, but there are some; try no_grad");
  Attended all = attend(queries, keys, values, levels.own, /*is_causal=*/true);
  if (!levels.above.empty())  // half precision would lose the small parts
    all.outputs = all.outputs.to(all.log_sums.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
  all.log_sums = all.log_sums.contiguous();
  for (const AttentionRuns& level : levels.above)
    merge(all, attend(queries, keys, values, level, /*is_causal=*/false), level.query_rows);
  return all.outputs.to(queries.scalar_type()).flatten(1);
}

}  // namespace notellm
