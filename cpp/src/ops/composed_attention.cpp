#include "notellm/ops/segment_attention.h"

#include <ATen/ATen.h>

#include <limits>
#include <map>
#include <utility>

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

}  // namespace

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
  plan.positions = segments.positions().to(options.device());
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
  plan.positions = at::tensor(positions, at::kLong).to(options.device());
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
