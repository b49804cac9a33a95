#include "notellm/models/decoder.h"

#include <ATen/core/grad_mode.h>
#include "tensors.h"

#include <iterator>
#include <utility>

#include "checks.h"
#include "notellm/ops/matmul.h"
#include "notellm/ops/projection.h"
#include "notellm/ops/quantise.h"
#include "notellm/ops/rms_norm.h"
#include "notellm/util/check.h"
#include "ops/on_kernels.h"
#include "ops/tensor_checks.h"

namespace notellm {
namespace {

at::Tensor side_by_side(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

// Joins matrices with the same input into one, for matrix products in `compute`. Differentiable in
// each.
at::Tensor stacked(std::vector<at::Tensor> parts, at::ScalarType compute) {
  for (at::Tensor& part : parts) part = for_products(part, compute);
  return side_by_side(parts);
}

// Joins their biases, in the compute dtype. Either all of them are defined or none; then the result
// is undefined, too.
at::Tensor stacked_biases(std::vector<at::Tensor> parts, at::ScalarType compute) {
  if (!parts[0].defined()) return {};
  for (at::Tensor& part : parts) part = part.to(compute);
  return side_by_side(parts);
}

// A prepared matrix, ready for its product: an int8 one is dequantised, for this product only.
at::Tensor widened(const at::Tensor& matrix, const at::Tensor& scales, at::ScalarType compute) {
  return scales.defined() ? for_products(dequantise(matrix, scales, compute), compute) : matrix;
}

// A matrix and what LoRA adds to it.
struct Part {
  const at::Tensor& weight;
  const Adapter& adapter;
};

// W + scale * up down: differentiable only in W, since `project` computes the adapters' gradients.
// In the wider of the dtypes of W and the adapter (a frozen W may be bf16): if the sum were rounded
// to bf16 here, small changes would be lost.
at::Tensor merged(const Part& part) {
  const Adapter& adapter = part.adapter;
  if (!adapter.down.defined()) return part.weight;
  const at::ScalarType own =
      c10::promoteTypes(part.weight.scalar_type(), adapter.down.scalar_type());
  const bool is_slow = own == at::kBFloat16 && part.weight.is_cpu() && !multiplies_bf16();
  const at::ScalarType wide = is_slow ? at::kFloat : own;
  return at::addmm(part.weight.to(wide), adapter.up.detach().to(wide),
                   adapter.down.detach().to(wide), 1, adapter.scale)
      .to(own);
}

// The adapters of joined matrices as one adapter: down matrices stacked, up matrices
// block-diagonal.
LowRank stacked_adapters(const std::vector<Part>& parts, at::ScalarType dtype) {
  std::vector<at::Tensor> downs, ups;
  for (const auto& [weight, adapter] : parts) {
    if (adapter.down.defined()) {
      downs.push_back(for_products(adapter.down, dtype));
      ups.push_back(for_products(adapter.up * adapter.scale, dtype));
    } else {
      ups.push_back(for_products(at::zeros({weight.size(0), 0}, weight.options()), dtype));
    }
  }
  if (downs.empty()) return {};
  LowRank both;
  both.down = at::cat(downs);
  both.up = ups.size() == 1 ? ups[0] : at::block_diag(ups);
  return both;
}

// Matrices with the same input, with their adapters; differentiable in each. Without dropout the
// adapters are merged (at the cost of about R more tokens), but only for the hand-written loops.
ProjectionWeights stacked_parts(const std::vector<Part>& parts,
                                const at::Tensor& bias,
                                at::ScalarType dtype,
                                const Dropout& dropout) {
  ProjectionWeights all{dtype, {}, bias, stacked_adapters(parts, dtype)};
  all.low_rank.dropout = dropout;
  all.low_rank.is_merged = all.low_rank.down.defined() && !dropout.is_active() &&
                           internal::runs_on_row_loops(parts[0].weight);
  std::vector<at::Tensor> weights;
  for (const Part& part : parts)
    weights.push_back(all.low_rank.is_merged ? merged(part) : part.weight);
  all.matrix = stacked(weights, dtype);
  return all;
}

// Whether these weights come from `prepare_weights`.
bool is_prepared(const LayerWeights& w) { return w.packed.defined(); }

// A block's four projections follow; `drop` is the dropout of their adapters.
ProjectionWeights packed_weights(const LayerWeights& w, at::ScalarType dtype, const Dropout& drop) {
  if (is_prepared(w)) return {dtype, widened(w.packed, w.scales.packed, dtype), w.packed_bias};
  const LayerAdapters& adapters = w.adapters;
  return stacked_parts(
      {{w.query, adapters.query}, {w.key, adapters.key}, {w.value, adapters.value}},
      stacked_biases({w.query_bias, w.key_bias, w.value_bias}, dtype), dtype, drop);
}

ProjectionWeights output_weights(const LayerWeights& w, at::ScalarType dtype, const Dropout& drop) {
  const at::Tensor bias = stacked_biases({w.output_bias}, dtype);
  if (is_prepared(w)) return {dtype, widened(w.output, w.scales.output, dtype), bias};
  return stacked_parts({{w.output, w.adapters.output}}, bias, dtype, drop);
}

ProjectionWeights gate_up_weights(const LayerWeights& w,
                                  at::ScalarType dtype,
                                  const Dropout& drop) {
  if (is_prepared(w)) {
    return {dtype, widened(w.gate_up, w.scales.gate_up, dtype), w.gate_up_bias};
  }
  return stacked_parts({{w.gate, w.adapters.gate}, {w.up, w.adapters.up}},
                       stacked_biases({w.gate_bias, w.up_bias}, dtype), dtype, drop);
}

ProjectionWeights down_weights(const LayerWeights& w, at::ScalarType dtype, const Dropout& drop) {
  const at::Tensor bias = stacked_biases({w.down_bias}, dtype);
  if (is_prepared(w)) return {dtype, widened(w.down, w.scales.down, dtype), bias};
  return stacked_parts({{w.down, w.adapters.down}}, bias, dtype, drop);
}

// Numbers a block's dropouts; matrices with the same input share one.
enum DropoutSite { kAttentionInput, kOutput, kFeedForwardInput, kDown, kSites };

Dropout dropout_of(const LayerWeights& w,
                   const DecoderPlan& plan,
                   DropoutSite site,
                   const at::Tensor& keys) {
  if (!plan.dropout_seed) return {};
  return {w.adapters.dropout, *plan.dropout_seed, w.adapters.layer * kSites + site, keys};
}

ProjectionWeights rows_of(const ProjectionWeights& w, int64_t begin, int64_t end) {
  ProjectionWeights rows = w;
  rows.matrix = w.matrix.slice(0, begin, end);
  if (w.bias.defined()) rows.bias = w.bias.slice(0, begin, end);
  if (w.low_rank.up.defined()) rows.low_rank.up = w.low_rank.up.slice(0, begin, end);
  return rows;
}

ProjectionInput normed(const at::Tensor& x, const at::Tensor& weight, const DecoderConfig& config) {
  return {Prologue::kRmsNorm, x, weight, config.norm_epsilon};
}

// (T, heads * E) with every head normalised separately, as in Qwen3.
at::Tensor norm_heads(const at::Tensor& x, const at::Tensor& weight, const DecoderConfig& config) {
  const at::Tensor heads = x.reshape({x.size(0), -1, config.rope.head_dim});
  return rms_norm(heads.to(wide_dtype(x.scalar_type())), weight, config.norm_epsilon,
                  x.scalar_type())
      .flatten(1);
}

struct HeadWidths {
  int64_t queries, keys;  // H E and K E; values are as wide as keys
};
HeadWidths head_widths(const DecoderConfig& config) {
  return {config.heads * config.rope.head_dim, config.key_heads * config.rope.head_dim};
}

// Writes the keys and values of the new tokens, (T, 2 K E), to the cache and returns those that
// attention reads.
at::Tensor through_cache(const at::Tensor& packed,
                         const DecoderPlan& plan,
                         const at::Tensor* cache) {
  if (!cache) return packed;
  internal::require(!(at::GradMode::is_enabled() && packed.requires_grad()), "decoder_layer",
                    "a cache must be used without gradients, but there are some; try no_grad");
  cache->index_copy_(0, plan.slots, packed.narrow(0, 0, plan.slots.size(0)));
  return plan.reads_cache ? *cache : packed;
}

// Attention on the CPU loops. Queries come from `asking`: x, or the plan's read rows of x.
at::Tensor attend(const at::Tensor& x,
                  const at::Tensor& asking,
                  const LayerWeights& w,
                  const DecoderConfig& config,
                  const DecoderPlan& plan,
                  const std::shared_ptr<const KernelAttentionPlan>& attention,
                  const at::Tensor* cache) {
  const AttentionHeads heads{config.heads, config.key_heads, config.rope.head_dim};
  const Dropout dropout = dropout_of(w, plan, kAttentionInput, plan.dropout_keys);
  const ProjectionWeights all = packed_weights(w, plan.dtype, dropout);
  const HeadWidths width = head_widths(config);
  at::Tensor queries, packed;
  if (asking.is_same(x)) {
    packed = project(normed(x, w.input_norm, config), all);
    if (!w.query_norm.defined() && !cache) {
      return segment_attention({}, packed, plan.rope, attention, heads);
    }
    queries = packed.narrow(1, 0, width.queries);
    packed = packed.narrow(1, width.queries, 2 * width.keys);
  } else {
    const int64_t end = all.matrix.size(0);
    ProjectionWeights asked = rows_of(all, 0, width.queries);
    asked.low_rank.dropout.keys = dropout.is_active() ? plan.read_dropout_keys : at::Tensor();
    queries = project(normed(asking, w.input_norm, config), asked);
    packed = project(normed(x, w.input_norm, config), rows_of(all, width.queries, end));
  }
  if (w.query_norm.defined()) {
    queries = norm_heads(queries, w.query_norm, config);
    packed = at::cat({norm_heads(packed.narrow(1, 0, width.keys), w.key_norm, config),
                      packed.narrow(1, width.keys, width.keys)},
                     1);
  }
  return segment_attention(queries, through_cache(packed, plan, cache), plan.rope, attention,
                           heads);
}

// Attention by LibTorch's operations.
at::Tensor attend_composed(const at::Tensor& x,
                           const LayerWeights& w,
                           const DecoderConfig& config,
                           const DecoderPlan& plan,
                           const at::Tensor* cache) {
  const HeadWidths width = head_widths(config);
  const Dropout dropout = dropout_of(w, plan, kAttentionInput, plan.dropout_keys);
  const at::Tensor all =
      project(normed(x, w.input_norm, config), packed_weights(w, plan.dtype, dropout));
  const auto heads_of = [&](const at::Tensor& part, const at::Tensor& norm) {
    const at::Tensor flat = norm.defined() ? norm_heads(part, norm, config) : part;
    return flat.reshape({part.size(0), -1, config.rope.head_dim});  // (T, heads, E)
  };
  const auto parts = all.split_with_sizes({width.queries, width.keys, width.keys}, 1);
  const at::Tensor own_keys = heads_of(parts[1], w.key_norm).flatten(1);
  const at::Tensor packed = through_cache(at::cat({own_keys, parts[2]}, 1), plan, cache);
  const auto both = packed.split_with_sizes({width.keys, width.keys}, 1);
  const bool reads_cache = cache && plan.reads_cache;
  const RopeTable asking = reads_cache ? RopeTable{plan.rope.cos.index_select(0, plan.slots),
                                                   plan.rope.sin.index_select(0, plan.slots)}
                                       : plan.rope;
  const at::Tensor values = heads_of(both[1], {}).to(plan.rope.cos.scalar_type());
  return composed_attention(apply_rope(heads_of(parts[0], w.query_norm), asking),
                            apply_rope(heads_of(both[0], {}), plan.rope), values,
                            plan.composed_attention)
      .to(plan.dtype);
}

// Appends rows of zeros for the plan's padding to (T, D); unchanged if x has them already.
at::Tensor pad_rows(const at::Tensor& x, const DecoderPlan& plan) {
  const int64_t all = plan.tokens + plan.padding;
  if (x.size(0) == all) return x;
  internal::require(x.size(0) == plan.tokens, "decoder_layer", "x must be of ", plan.tokens,
                    " rows, but is of ", x.size(0));
  return at::constant_pad_nd(x, {0, 0, 0, plan.padding});
}

void check_block(const at::Tensor& x,
                 const LayerWeights& weights,
                 const DecoderConfig& config,
                 const DecoderPlan& plan,
                 const at::Tensor* cache) {
  constexpr const char* where = "decoder_layer";
  internal::check_config(where, config);
  internal::check_tensor(where, "x", x, {internal::kAny, config.width}, wide_dtype(plan.dtype));
  internal::check_device(where, "x", x, plan.rope.cos.device());
  internal::check_shape(where, "the plan's angles", plan.rope.cos,
                        {internal::kAny, config.rope.head_dim});
  internal::check_layer(where, weights, config, x.device());
  if (!cache) return;
  internal::check_tensor(
      where, "the cache", *cache,
      {plan.reads_cache ? plan.rope.cos.size(0) : internal::kAny, 2 * head_widths(config).keys},
      plan.dtype);
}

void quantise_matrices(LayerWeights& w) {
  const auto replace = [](at::Tensor& matrix, at::Tensor& scales) {
    QuantisedMatrix quantised = quantise(matrix);
    matrix = std::move(quantised.values);
    scales = std::move(quantised.scales);
  };
  replace(w.packed, w.scales.packed);
  replace(w.output, w.scales.output);
  replace(w.gate_up, w.scales.gate_up);
  replace(w.down, w.scales.down);
}

}  // namespace

at::Tensor decoder_layer(const at::Tensor& given,
                         const LayerWeights& weights,
                         const DecoderConfig& config,
                         const DecoderPlan& plan,
                         bool is_last,
                         const at::Tensor* cache) {
  check_block(given, weights, config, plan, cache);
  const at::Tensor x = pad_rows(given, plan);
  const bool selects = is_last && plan.read_rows.defined();
  at::Tensor stream = selects ? x.index_select(0, plan.read_rows) : x;  // (R, D) or (T, D)
  at::Tensor attended;                                                  // (R, H E) or (T, H E)
  if (plan.kernel_attention) {
    attended = attend(x, stream, weights, config, plan,
                      is_last ? plan.kernel_read_attention : plan.kernel_attention, cache);
  } else {
    attended = attend_composed(x, weights, config, plan, cache);
    if (selects) attended = attended.index_select(0, plan.read_rows);
  }
  const auto dropout = [&](DropoutSite site) {
    return dropout_of(weights, plan, site, selects ? plan.read_dropout_keys : plan.dropout_keys);
  };
  stream = project({Prologue::kNone, attended, {}, 0},
                   output_weights(weights, plan.dtype, dropout(kOutput)), stream);
  const at::Tensor gate_up =
      project(normed(stream, weights.post_norm, config),
              gate_up_weights(weights, plan.dtype, dropout(kFeedForwardInput)));
  const at::Tensor result = project({Prologue::kSwiglu, gate_up, {}, 0},
                                    down_weights(weights, plan.dtype, dropout(kDown)), stream);
  const int64_t padding = selects ? plan.read_padding : plan.padding;
  return is_last && padding > 0 ? result.narrow(0, 0, result.size(0) - padding) : result;
}

at::Tensor decoder_states(const at::Tensor& tokens,
                          const DecoderWeights& weights,
                          const DecoderConfig& config,
                          const DecoderPlan& plan,
                          const std::vector<at::Tensor>* cache) {
  constexpr const char* where = "decoder_states";
  internal::check_decoder(where, weights, config);
  internal::check_indices(where, "tokens", tokens, plan.tokens, weights.embedding.size(0));
  internal::check_device(where, "tokens", tokens, weights.embedding.device());
  at::Tensor x = at::embedding(weights.embedding, tokens).to(wide_dtype(plan.dtype));  // (T, D)
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    x = decoder_layer(x, weights.layers[l], config, plan, l + 1 == weights.layers.size(),
                      cache ? &(*cache)[l] : nullptr);
  }
  return rms_norm(x, weights.norm, config.norm_epsilon, x.scalar_type());
}

at::Tensor head_logits(const at::Tensor& states, const at::Tensor& head, at::ScalarType compute) {
  constexpr const char* where = "head_logits";
  internal::check_floating(where, "states", states, {internal::kAny, internal::kAny});
  internal::check_floating(where, "head", head, {internal::kAny, states.size(1)});
  internal::check_device(where, "head", head, states.device());
  const at::Tensor logits = at::linear(for_products(states, compute), for_products(head, compute));
  return for_products(logits, compute).to(wide_dtype(compute));
}

DecoderWeights prepare_weights(const DecoderWeights& weights,
                               at::ScalarType compute,
                               WeightStorage storage) {
  DecoderWeights prepared = weights;
  const bool is_int8 = storage == WeightStorage::kInt8;
  // always merged: only gradients need separate adapters
  const auto merge = [&](const std::vector<Part>& parts) {
    std::vector<at::Tensor> matrices;
    for (const Part& part : parts) matrices.push_back(merged(part));
    // int8 is rounded from the original weights, not from bf16
    return is_int8 ? side_by_side(matrices) : stacked(std::move(matrices), compute);
  };
  for (LayerWeights& w : prepared.layers) {
    const LayerAdapters& adapters = w.adapters;
    if (!w.packed.defined()) {
      internal::check_matrices("prepare_weights", w, weights.embedding);
      w.packed =
          merge({{w.query, adapters.query}, {w.key, adapters.key}, {w.value, adapters.value}});
      w.packed_bias = stacked_biases({w.query_bias, w.key_bias, w.value_bias}, compute);
      w.gate_up = merge({{w.gate, adapters.gate}, {w.up, adapters.up}});
      w.gate_up_bias = stacked_biases({w.gate_bias, w.up_bias}, compute);
    }
    w.output = merge({{w.output, adapters.output}});
    w.down = merge({{w.down, adapters.down}});
    w.adapters = {};
    for (at::Tensor* part : {&w.query, &w.key, &w.value, &w.query_bias, &w.key_bias, &w.value_bias,
                             &w.gate, &w.up, &w.gate_bias, &w.up_bias}) {
      *part = at::Tensor();
    }
    if (is_int8) quantise_matrices(w);
  }
  return prepared;
}

int64_t matrix_bytes(const DecoderWeights& prepared) {
  int64_t bytes = 0;
  for (const LayerWeights& w : prepared.layers) {
    for (const at::Tensor* part : {&w.packed, &w.output, &w.gate_up, &w.down, &w.scales.packed,
                                   &w.scales.output, &w.scales.gate_up, &w.scales.down}) {
      if (part->defined()) bytes += static_cast<int64_t>(part->nbytes());
    }
  }
  return bytes;
}

}  // namespace notellm
