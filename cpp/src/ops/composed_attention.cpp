#include "notellm/ops/segment_attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <utility>

#include "notellm/ops/on_device.h"
#include "notellm/util/check.h"

namespace notellm {
namespace {

// (1, 1, new, context): the last `new` tokens of `context`, each seeing what comes no later than
// itself.
at::Tensor causal_tail_mask(int64_t new_tokens, int64_t context, const at::TensorOptions& options) {
  const at::Tensor mask =
      at::full({new_tokens, context}, -std::numeric_limits<double>::infinity(), options);
  return mask.triu(context - new_tokens + 1).view({1, 1, new_tokens, context});
}

at::Tensor grown_by(const at::Tensor& cached, const at::Tensor& piece) {
  return cached.defined() ? at::cat({cached, piece}) : piece;
}

at::Tensor joined(const std::vector<at::Tensor>& pieces) {
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces);
}

// (tokens, heads, E) -> (1, heads, tokens, E), as the fused attention wants it.
at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

// (tokens, K, E) -> (tokens, H, E): every key head serves H / K query heads.
at::Tensor repeat_heads(const at::Tensor& x, int64_t heads) {
  const int64_t group = heads / x.size(1);
  if (group == 1) return x;
  return x.unsqueeze(2).expand({-1, -1, group, -1}).reshape({x.size(0), heads, x.size(2)});
}

bool takes_flash_attention(const at::Tensor& queries, const AttentionPlan& plan) {
  const int64_t head_dim = queries.size(2);
  return plan.contexts.rows.defined() && queries.is_cuda() && head_dim % 8 == 0 && head_dim <= 256;
}

// The rows of every context. Where an ancestor has many descendants their gradients meet in fp32:
// index_select's backward would add them up in the dtype of `x`.
at::Tensor contexts_of(const at::Tensor& x, const at::Tensor& rows) {
  if (!x.requires_grad()) return x.index_select(0, rows);
  return x.to(at::kFloat).index_select(0, rows).to(x.scalar_type());
}

// Causal is meant from the end: a run's last token sees its whole context.
at::Tensor flash_attention(const at::Tensor& queries,
                           const at::Tensor& keys,
                           const at::Tensor& values,
                           const ContextRuns& contexts) {
  const auto result = at::_flash_attention_forward(
      queries.contiguous(), contexts_of(keys, contexts.rows), contexts_of(values, contexts.rows),
      contexts.query_offsets, contexts.context_offsets, contexts.longest_run,
      contexts.longest_context, /*dropout_p=*/0.0, /*is_causal=*/true,
      /*return_debug_mask=*/false);
  return std::get<0>(result).flatten(1);
}

}  // namespace

ContextRuns context_runs(const Segments& segments, at::Device device) {
  ContextRuns runs;
  std::vector<int64_t> rows;
  std::vector<int32_t> query_offsets{0}, context_offsets{0};
  for (int64_t s = 0; s < segments.count(); ++s) {
    for (const int64_t part : segments.chain(s)) {
      for (int64_t i = 0; i < segments.length(part); ++i) rows.push_back(segments.begin(part) + i);
    }
    NOTELLM_CHECK_ARG(std::ssize(rows) <= std::numeric_limits<int32_t>::max(),
                      "contexts must be of less than 2^31 tokens together, but are of ",
                      rows.size());
    query_offsets.push_back(static_cast<int32_t>(segments.begin(s) + segments.length(s)));
    context_offsets.push_back(static_cast<int32_t>(rows.size()));
    runs.longest_run = std::max(runs.longest_run, segments.length(s));
    runs.longest_context = std::max(runs.longest_context, segments.start(s) + segments.length(s));
  }
  runs.rows = on_device(rows, device);
  runs.query_offsets = on_device(query_offsets, device);
  runs.context_offsets = on_device(context_offsets, device);
  return runs;
}

AttentionPlan plan_forest(const Segments& segments, const at::TensorOptions& options) {
  AttentionPlan plan;
  std::map<std::pair<int64_t, int64_t>, at::Tensor>
      masks;  // most segments share their shape with others
  for (int64_t s = 0; s < segments.count(); ++s) {
    const int64_t length = segments.length(s);
    const int64_t context = segments.start(s) + length;
    plan.segments.push_back(s);
    plan.lengths.push_back(length);
    plan.chains.push_back(segments.chain(s));
    at::Tensor& mask = masks[{length, context}];
    if (length > 1 && !mask.defined()) mask = causal_tail_mask(length, context, options);
    plan.masks.push_back(mask);
  }
  plan.positions = on_device(segments.positions(), options.device());
  const at::ScalarType dtype = options.dtype().toScalarType();
  if (options.device().is_cuda() && (dtype == at::kBFloat16 || dtype == at::kHalf)) {
    plan.contexts = context_runs(segments, options.device());
  }
  return plan;
}

AttentionPlan plan_growth(const Segments& segments,
                          const std::vector<int64_t>& grown,
                          const std::vector<int64_t>& lengths,
                          const at::TensorOptions& options) {
  AttentionPlan plan;
  plan.segments = grown;
  plan.lengths.assign(grown.size(), 1);
  plan.masks.resize(grown.size());
  std::vector<int64_t> positions;
  for (const int64_t s : grown) {
    plan.chains.push_back(segments.chain(s));
    positions.push_back(segments.start(s) + lengths[s]);
  }
  plan.positions = on_device(positions, options.device());
  return plan;
}

at::Tensor composed_attention(const at::Tensor& queries,
                              const at::Tensor& keys,
                              const at::Tensor& values,
                              const AttentionPlan& plan,
                              LayerCache& cache) {
  const int64_t heads = queries.size(1);
  NOTELLM_CHECK_ARG(heads % keys.size(1) == 0,
                    "query heads must be a multiple of key heads, but are ", heads, " and ",
                    keys.size(1));
  // split, not slices: its backward is one concatenation, where every slice would fill a (T, K, E)
  // gradient
  const auto query_runs = queries.split_with_sizes(plan.lengths);
  const auto key_runs = keys.split_with_sizes(plan.lengths);
  const auto value_runs = values.split_with_sizes(plan.lengths);
  std::vector<at::Tensor> outputs;
  outputs.reserve(plan.segments.size());
  for (size_t r = 0; r < plan.segments.size(); ++r) {
    SegmentKeys& own = cache[plan.segments[r]];
    own.keys = grown_by(own.keys, key_runs[r]);
    own.values = grown_by(own.values, value_runs[r]);
  }
  if (takes_flash_attention(queries, plan)) {
    return flash_attention(queries, keys, values, plan.contexts);
  }
  for (size_t r = 0; r < plan.segments.size(); ++r) {
    std::vector<at::Tensor> chain_keys, chain_values;
    for (const int64_t s : plan.chains[r]) {
      chain_keys.push_back(cache[s].keys);
      chain_values.push_back(cache[s].values);
    }
    const at::Tensor context_keys = repeat_heads(joined(chain_keys), heads);
    const at::Tensor context_values = repeat_heads(joined(chain_values), heads);
    const std::optional<at::Tensor> mask =
        plan.masks[r].defined() ? std::optional(plan.masks[r]) : std::nullopt;
    const at::Tensor attended = at::scaled_dot_product_attention(
        heads_first(query_runs[r]), heads_first(context_keys), heads_first(context_values), mask);
    outputs.push_back(attended.squeeze(0).transpose(0, 1));  // (new, H, E)
  }
  return at::cat(outputs).flatten(1);
}

}  // namespace notellm
