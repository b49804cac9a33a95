#include "notellm/ops/segment_attention.h"

#include "tensors.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "heads.h"
#include "notellm/util/check.h"
#include "run_builder.h"

namespace notellm {
namespace {

// (1, 1, new, context): the causal mask of the last `new` tokens of a context.
at::Tensor causal_tail_mask(int64_t new_tokens, int64_t context, const at::TensorOptions& options) {
  const at::Tensor mask =
      at::full({new_tokens, context}, -std::numeric_limits<double>::infinity(), options);
  return mask.triu(context - new_tokens + 1).view({1, 1, new_tokens, context});
}

// (tokens, heads, E) -> (1, heads, tokens, E), as the fused attention needs it.
at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

// The rows of every context. The gradients of an ancestor's many descendants are summed at least in
// fp32: index_select's backward would sum them in the dtype of `x`.
at::Tensor contexts_of(const at::Tensor& x, const at::Tensor& rows) {
  if (!x.requires_grad() || x.scalar_type() == at::kDouble) return x.index_select(0, rows);
  return x.to(at::kFloat).index_select(0, rows).to(x.scalar_type());
}

// The causal mask is aligned at the end: a run's last token sees its whole context.
at::Tensor flash_attention(const at::Tensor& queries,
                           const at::Tensor& context_keys,
                           const at::Tensor& context_values,
                           const AttentionRuns& contexts) {
  const auto result = at::_flash_attention_forward(
      queries.contiguous(), context_keys, context_values, contexts.query_offsets,
      contexts.key_offsets, contexts.longest_queries, contexts.longest_keys, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false);
  return std::get<0>(result).flatten(1);
}

}  // namespace

bool takes_flash_attention(at::Device device, at::ScalarType dtype, int64_t head_dim) {
  const bool is_half = dtype == at::kBFloat16 || dtype == at::kHalf;
  return device.is_cuda() && is_half && head_dim % 8 == 0 && head_dim <= 256;
}

ComposedAttentionPlan plan_composed_attention(const Segments& segments,
                                              const at::TensorOptions& options,
                                              bool has_masks) {
  ComposedAttentionPlan plan;
  std::map<std::pair<int64_t, int64_t>, at::Tensor>
      masks;  // by shape, which most segments share with others
  for (int64_t s = 0; s < segments.count(); ++s) {
    const int64_t length = segments.length(s);
    const int64_t context = segments.start(s) + length;
    plan.lengths.push_back(length);
    plan.context_lengths.push_back(context);
    at::Tensor& mask = masks[{length, context}];
    if (has_masks && length > 1 && !mask.defined())
      mask = causal_tail_mask(length, context, options);
    plan.masks.push_back(mask);
  }
  plan.contexts = context_runs(segments, options.device());
  return plan;
}

ComposedAttentionPlan plan_composed_decoding_step(
    std::span<const std::vector<kernels::TokenRange>> contexts, at::Device device) {
  ComposedAttentionPlan plan;
  plan.lengths.assign(contexts.size(), 1);
  plan.masks.resize(contexts.size());
  internal::RunBuilder runs("plan_composed_decoding_step");
  for (size_t i = 0; i < contexts.size(); ++i) {
    runs.add_queries(static_cast<int64_t>(i), 1);
    int64_t length = 0;
    for (const kernels::TokenRange& range : contexts[i]) {
      runs.add_keys(range.begin, range.length);
      length += range.length;
    }
    runs.close();
    plan.context_lengths.push_back(length);
  }
  plan.contexts = runs.finish(device, internal::RunBuilder::Named::kKeys);
  return plan;
}

at::Tensor composed_attention(const at::Tensor& queries,
                              const at::Tensor& keys,
                              const at::Tensor& values,
                              const ComposedAttentionPlan& plan) {
  const int64_t heads = queries.size(1);
  internal::require(heads % keys.size(1) == 0, "composed_attention",
                    "query heads must be a multiple of key heads, but are ", heads, " and ",
                    keys.size(1));
  if (plan.levels) return prefix_attention(queries, keys, values, *plan.levels);
  const at::Tensor context_keys = contexts_of(keys, plan.contexts.key_rows);
  const at::Tensor context_values = contexts_of(values, plan.contexts.key_rows);
  if (takes_flash_attention(queries.device(), queries.scalar_type(), queries.size(2))) {
    return flash_attention(queries, context_keys, context_values, plan.contexts);
  }
  // split instead of slices: its backward is one concatenation, while every slice would fill a
  // gradient of the whole size
  const auto query_runs = queries.split_with_sizes(plan.lengths);
  const auto key_runs = context_keys.split_with_sizes(plan.context_lengths);
  const auto value_runs = context_values.split_with_sizes(plan.context_lengths);
  std::vector<at::Tensor> outputs;
  outputs.reserve(plan.lengths.size());
  for (size_t r = 0; r < plan.lengths.size(); ++r) {
    const std::optional<at::Tensor> mask =
        plan.masks[r].defined() ? std::optional(plan.masks[r]) : std::nullopt;
    const at::Tensor attended = at::scaled_dot_product_attention(
        heads_first(query_runs[r]), heads_first(internal::repeat_heads(key_runs[r], heads)),
        heads_first(internal::repeat_heads(value_runs[r], heads)), mask);
    outputs.push_back(attended.squeeze(0).transpose(0, 1));  // (new, H, E)
  }
  return at::cat(outputs).flatten(1);
}

}  // namespace notellm
