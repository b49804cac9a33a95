#include "notellm/models/decoder.h"

#include <ATen/ATen.h>

#include <iterator>
#include <utility>

#include "notellm/util/check.h"

namespace notellm {
namespace {

// x W^T + b in the compute dtype. Casting an fp32 master weight here is differentiable; casting a
// cast one is free.
at::Tensor product(const at::Tensor& x,
                   const at::Tensor& weight,
                   const at::Tensor& bias,
                   at::ScalarType dtype) {
  if (!bias.defined()) return at::linear(x, weight.to(dtype));
  return at::linear(x, weight.to(dtype), bias.to(dtype));
}

// (T, heads * E) -> (T, heads, E), normalised per head where the model does that.
at::Tensor split_heads(const at::Tensor& x, const at::Tensor& norm, const DecoderConfig& config) {
  const at::Tensor heads = x.view({x.size(0), -1, config.rope.head_dim});
  if (!norm.defined()) return heads;
  return rms_norm(heads.to(state_dtype(x.scalar_type())), norm, config.norm_epsilon)
      .to(x.scalar_type());
}

at::Tensor attention_block(const at::Tensor& x,
                           const LayerWeights& w,
                           const DecoderConfig& config,
                           const DecoderPlan& plan,
                           LayerCache& cache) {
  const at::Tensor h = rms_norm(x, w.input_norm, config.norm_epsilon).to(plan.dtype);  // (T, D)
  const at::Tensor q =
      split_heads(product(h, w.query, w.query_bias, plan.dtype), w.query_norm, config);
  const at::Tensor k = split_heads(product(h, w.key, w.key_bias, plan.dtype), w.key_norm, config);
  const at::Tensor v = split_heads(product(h, w.value, w.value_bias, plan.dtype), {}, config)
                           .to(plan.rope.cos.scalar_type());  // as q and k, which the table widens
  const at::Tensor attended = segment_attention(apply_rope(q, plan.rope), apply_rope(k, plan.rope),
                                                v, plan.attention, cache);  // (T, H E)
  return product(attended.to(plan.dtype), w.output, {}, plan.dtype);
}

at::Tensor feed_forward_block(const at::Tensor& x,
                              const LayerWeights& w,
                              const DecoderConfig& config,
                              at::ScalarType dtype) {
  const at::Tensor h = rms_norm(x, w.post_norm, config.norm_epsilon).to(dtype);  // (T, D)
  const at::Tensor gated = at::silu(product(h, w.gate, {}, dtype)) * product(h, w.up, {}, dtype);
  return product(gated, w.down, {}, dtype);
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
  if (compute != at::kDouble && compute != at::kFloat && compute != at::kBFloat16) {
    internal::throw_error<NotSupportedError>(
        __func__, "the compute dtype must be fp64, fp32 or bf16, but is ", c10::toString(compute));
  }
  RopeTable rope = rope_table(attention.positions, config.rope,
                              attention_dtype(compute, attention.positions.device()));
  return {std::move(attention), std::move(rope), compute};
}

DecoderPlan plan_decoder(const Segments& segments,
                         const DecoderConfig& config,
                         at::ScalarType compute,
                         at::Device device) {
  const auto options = at::TensorOptions().dtype(attention_dtype(compute, device)).device(device);
  return make_plan(plan_forest(segments, options), config, compute);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return at::rms_norm(x, {x.size(-1)}, weight.to(x.scalar_type()), epsilon);
}

at::Tensor decoder_layer(const at::Tensor& x,
                         const LayerWeights& weights,
                         const DecoderConfig& config,
                         const DecoderPlan& plan,
                         LayerCache& cache) {
  // The sum of the wide stream and a narrow branch is wide again.
  const at::Tensor attended = x + attention_block(x, weights, config, plan, cache);
  return attended + feed_forward_block(attended, weights, config, plan.dtype);
}

at::Tensor decoder_states(const at::Tensor& tokens,
                          const DecoderWeights& weights,
                          const DecoderConfig& config,
                          const DecoderPlan& plan,
                          DecoderCache& cache) {
  NOTELLM_CHECK_ARG(std::ssize(weights.layers) == config.layers, "weights must be of ",
                    config.layers, " layers, but are of ", weights.layers.size());
  at::Tensor x = at::embedding(weights.embedding, tokens).to(state_dtype(plan.dtype));  // (T, D)
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    x = decoder_layer(x, weights.layers[l], config, plan, cache[l]);
  }
  return rms_norm(x, weights.norm, config.norm_epsilon);
}

DecoderCache empty_cache(const DecoderConfig& config, int64_t segments) {
  return DecoderCache(config.layers, LayerCache(segments));
}

at::Tensor head_logits(const at::Tensor& states, const at::Tensor& head, at::ScalarType compute) {
  return product(states.to(compute), head, {}, compute).to(state_dtype(compute));
}

DecoderWeights cast_weights(const DecoderWeights& weights, at::ScalarType compute) {
  DecoderWeights cast = weights;
  for (LayerWeights& w : cast.layers) {
    for (at::Tensor* part : {&w.query, &w.key, &w.value, &w.query_bias, &w.key_bias, &w.value_bias,
                             &w.output, &w.gate, &w.up, &w.down}) {
      if (part->defined()) *part = part->to(compute);
    }
  }
  return cast;
}

}  // namespace notellm
