#include "notellm/models/decoder.h"

#include <ATen/ATen.h>

#include <iterator>
#include <utility>

#include "notellm/kernels/instruction_set.h"
#include "notellm/ops/projection.h"
#include "notellm/ops/quantise.h"
#include "notellm/ops/rms_norm.h"
#include "notellm/util/check.h"

namespace notellm {
namespace {

// Matrices (or biases) of one input side by side, in the compute dtype. Differentiable in each.
at::Tensor stacked(std::vector<at::Tensor> parts, at::ScalarType dtype) {
  if (!parts[0].defined()) return {};
  for (at::Tensor& part : parts) part = part.to(dtype);
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

// A matrix as its product wants it: an int8 one is widened, for this product only.
at::Tensor widened(const at::Tensor& matrix, const at::Tensor& scales, at::ScalarType dtype) {
  return scales.defined() ? dequantise(matrix, scales, dtype) : matrix.to(dtype);
}

ProjectionWeights packed_weights(const LayerWeights& w, at::ScalarType dtype) {
  if (w.packed.defined()) return {widened(w.packed, w.scales.packed, dtype), w.packed_bias};
  return {stacked({w.query, w.key, w.value}, dtype),
          stacked({w.query_bias, w.key_bias, w.value_bias}, dtype)};
}

at::Tensor gate_up_weights(const LayerWeights& w, at::ScalarType dtype) {
  return w.gate_up.defined() ? widened(w.gate_up, w.scales.gate_up, dtype)
                             : stacked({w.gate, w.up}, dtype);
}

ProjectionWeights rows_of(const ProjectionWeights& w, int64_t begin, int64_t end) {
  return {w.matrix.slice(0, begin, end),
          w.bias.defined() ? w.bias.slice(0, begin, end) : at::Tensor()};
}

ProjectionInput normed(const at::Tensor& x, const at::Tensor& weight, const DecoderConfig& config) {
  return {Prologue::kRmsNorm, x, weight, config.norm_epsilon};
}

// (T, heads * E) with every head normalised on its own: Qwen3.
at::Tensor norm_heads(const at::Tensor& x, const at::Tensor& weight, const DecoderConfig& config) {
  const at::Tensor heads = x.reshape({x.size(0), -1, config.rope.head_dim});
  return rms_norm(heads.to(state_dtype(x.scalar_type())), weight, config.norm_epsilon,
                  x.scalar_type())
      .flatten(1);
}

struct HeadWidths {
  int64_t queries, keys;  // H E and K E; values are as wide as keys
};
HeadWidths head_widths(const DecoderConfig& config) {
  return {config.heads * config.rope.head_dim, config.key_heads * config.rope.head_dim};
}

// Attention on the CPU loops. Queries come from `asking`, which is x or some of its rows.
at::Tensor attend(const at::Tensor& x,
                  const at::Tensor& asking,
                  const LayerWeights& w,
                  const DecoderConfig& config,
                  const RopeTable& rope,
                  const std::shared_ptr<const AttentionLayout>& layout,
                  at::ScalarType dtype) {
  const AttentionHeads heads{config.heads, config.key_heads, config.rope.head_dim};
  const ProjectionWeights all = packed_weights(w, dtype);
  const HeadWidths width = head_widths(config);
  at::Tensor queries, packed;
  if (asking.is_same(x)) {
    packed = project(normed(x, w.input_norm, config), all);
    if (!w.query_norm.defined()) return segment_attention({}, packed, rope, layout, heads);
    queries = packed.narrow(1, 0, width.queries);
    packed = packed.narrow(1, width.queries, 2 * width.keys);
  } else {
    const int64_t end = all.matrix.size(0);
    queries = project(normed(asking, w.input_norm, config), rows_of(all, 0, width.queries));
    packed = project(normed(x, w.input_norm, config), rows_of(all, width.queries, end));
  }
  if (w.query_norm.defined()) {
    queries = norm_heads(queries, w.query_norm, config);
    packed = at::cat({norm_heads(packed.narrow(1, 0, width.keys), w.key_norm, config),
                      packed.narrow(1, width.keys, width.keys)},
                     1);
  }
  return segment_attention(queries, packed, rope, layout, heads);
}

// Attention of LibTorch's operations, through the cache.
at::Tensor attend_composed(const at::Tensor& x,
                           const LayerWeights& w,
                           const DecoderConfig& config,
                           const DecoderPlan& plan,
                           LayerCache& cache) {
  const HeadWidths width = head_widths(config);
  const auto parts = project(normed(x, w.input_norm, config), packed_weights(w, plan.dtype))
                         .split_with_sizes({width.queries, width.keys, width.keys}, 1);
  const auto split = [&](const at::Tensor& part, const at::Tensor& norm) {
    const at::Tensor flat = norm.defined() ? norm_heads(part, norm, config) : part;
    return flat.reshape({x.size(0), -1, config.rope.head_dim});  // (T, heads, E)
  };
  const at::Tensor values = split(parts[2], {}).to(plan.rope.cos.scalar_type());
  return composed_attention(apply_rope(split(parts[0], w.query_norm), plan.rope),
                            apply_rope(split(parts[1], w.key_norm), plan.rope), values,
                            plan.attention, cache)
      .to(plan.dtype);
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

void check_compute(at::ScalarType compute, const char* where) {
  if (compute == at::kDouble || compute == at::kFloat || compute == at::kBFloat16) return;
  internal::throw_error<NotSupportedError>(
      where, "the compute dtype must be fp64, fp32 or bf16, but is ", c10::toString(compute));
}

}  // namespace

at::ScalarType attention_dtype(at::ScalarType compute, at::Device device) {
  return compute == at::kBFloat16 && device.is_cpu() ? at::kFloat : compute;
}

at::ScalarType state_dtype(at::ScalarType compute) {
  return compute == at::kDouble ? at::kDouble : at::kFloat;
}

DecoderPlan make_plan(AttentionPlan attention,
                      const DecoderConfig& config,
                      at::ScalarType compute) {
  check_compute(compute, __func__);
  DecoderPlan plan;
  plan.rope = rope_table(attention.positions, config.rope,
                         attention_dtype(compute, attention.positions.device()));
  plan.attention = std::move(attention);
  plan.dtype = compute;
  return plan;
}

DecoderPlan plan_decoder(const Segments& segments,
                         const DecoderConfig& config,
                         at::ScalarType compute,
                         at::Device device,
                         std::optional<std::span<const int64_t>> read_rows) {
  check_compute(compute, __func__);
  const auto options = at::TensorOptions().dtype(attention_dtype(compute, device)).device(device);
  DecoderPlan plan;
  if (device.is_cpu() && instruction_set() != InstructionSet::kNone) {
    plan.layout = std::make_shared<const AttentionLayout>(attention_layout(segments));
    plan.read_layout =
        read_rows ? std::make_shared<const AttentionLayout>(attention_layout(segments, read_rows))
                  : plan.layout;
    plan.attention.positions = segments.positions();
    plan.rope = rope_table(plan.attention.positions, config.rope, options.dtype().toScalarType());
    plan.dtype = compute;
  } else {
    plan = make_plan(plan_forest(segments, options), config, compute);
  }
  if (read_rows) {
    plan.read_rows =
        at::tensor(at::ArrayRef<int64_t>(read_rows->data(), read_rows->size()), at::kLong)
            .to(device);
  }
  return plan;
}

at::Tensor decoder_layer(const at::Tensor& x,
                         const LayerWeights& weights,
                         const DecoderConfig& config,
                         const DecoderPlan& plan,
                         bool is_last,
                         LayerCache* cache) {
  const bool selects = is_last && plan.read_rows.defined();
  at::Tensor stream = selects ? x.index_select(0, plan.read_rows) : x;  // (R, D) or (T, D)
  at::Tensor attended;                                                  // as many rows, (H E)
  if (plan.layout && !cache) {
    attended = attend(x, stream, weights, config, plan.rope,
                      is_last ? plan.read_layout : plan.layout, plan.dtype);
  } else {
    LayerCache own(cache ? 0 : plan.attention.segments.size());
    attended = attend_composed(x, weights, config, plan, cache ? *cache : own);
    if (selects) attended = attended.index_select(0, plan.read_rows);
  }
  stream = project({Prologue::kNone, attended, {}, 0},
                   {widened(weights.output, weights.scales.output, plan.dtype), {}}, stream);
  const at::Tensor gate_up = project(normed(stream, weights.post_norm, config),
                                     {gate_up_weights(weights, plan.dtype), {}});
  return project({Prologue::kSwiglu, gate_up, {}, 0},
                 {widened(weights.down, weights.scales.down, plan.dtype), {}}, stream);
}

at::Tensor decoder_states(const at::Tensor& tokens,
                          const DecoderWeights& weights,
                          const DecoderConfig& config,
                          const DecoderPlan& plan,
                          DecoderCache* cache) {
  NOTELLM_CHECK_ARG(std::ssize(weights.layers) == config.layers, "weights must be of ",
                    config.layers, " layers, but are of ", weights.layers.size());
  at::Tensor x = at::embedding(weights.embedding, tokens).to(state_dtype(plan.dtype));  // (T, D)
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    x = decoder_layer(x, weights.layers[l], config, plan, l + 1 == weights.layers.size(),
                      cache ? &(*cache)[l] : nullptr);
  }
  return rms_norm(x, weights.norm, config.norm_epsilon, x.scalar_type());
}

DecoderCache empty_cache(const DecoderConfig& config, int64_t segments) {
  return DecoderCache(config.layers, LayerCache(segments));
}

at::Tensor head_logits(const at::Tensor& states, const at::Tensor& head, at::ScalarType compute) {
  return at::linear(states.to(compute), head.to(compute)).to(state_dtype(compute));
}

DecoderWeights prepare_weights(const DecoderWeights& weights,
                               at::ScalarType compute,
                               WeightStorage storage) {
  DecoderWeights prepared = weights;
  const bool is_int8 = storage == WeightStorage::kInt8;
  for (LayerWeights& w : prepared.layers) {
    // int8 is rounded from the weights as they are, not from bf16
    const at::ScalarType dtype = is_int8 ? w.output.scalar_type() : compute;
    w.packed = stacked({w.query, w.key, w.value}, dtype);
    w.packed_bias = stacked({w.query_bias, w.key_bias, w.value_bias}, compute);
    w.gate_up = stacked({w.gate, w.up}, dtype);
    w.output = w.output.to(dtype);
    w.down = w.down.to(dtype);
    for (at::Tensor* part :
         {&w.query, &w.key, &w.value, &w.query_bias, &w.key_bias, &w.value_bias, &w.gate, &w.up}) {
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
