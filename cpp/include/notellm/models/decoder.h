#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "notellm/ops/rope.h"
#include "notellm/ops/segment_attention.h"

namespace notellm {

/// Shape of a Llama-family decoder: pre-norm blocks, rotary positions, grouped-query attention,
/// SwiGLU.
struct DecoderConfig {
  int64_t width = 576;         ///< D
  int64_t inner_width = 1536;  ///< of the feed-forward block
  int64_t layers = 30;         ///< L
  int64_t heads = 9;           ///< H
  int64_t key_heads = 3;       ///< K, divides H
  int64_t vocabulary = 49152;  ///< V, rows of the token embedding
  double norm_epsilon = 1e-5;
  RopeOptions rope;  ///< rope.head_dim is E; H * E need not be D
};

/// Weights of one block; matrices are (out, in) as in torch. A part that a model lacks is
/// undefined.
struct LayerWeights {
  at::Tensor input_norm;                        ///< (D)
  at::Tensor query, key, value;                 ///< (H E, D), (K E, D), (K E, D)
  at::Tensor query_bias, key_bias, value_bias;  ///< (H E), (K E), (K E): Qwen2
  at::Tensor query_norm, key_norm;  ///< (E): Qwen3 normalises every head before the rotation
  at::Tensor output;                ///< (D, H E)
  at::Tensor post_norm;             ///< (D), before the feed-forward block
  at::Tensor gate, up, down;        ///< (inner, D), (inner, D), (D, inner)
};

/// Weights of a whole decoder. The head is kept apart: embedding never needs it.
struct DecoderWeights {
  at::Tensor embedding;  ///< (V, D)
  std::vector<LayerWeights> layers;
  at::Tensor norm;  ///< (D)
};

/// A forward pass's attention plan with its rotation table.
struct DecoderPlan {
  AttentionPlan attention;
  RopeTable rope;        ///< in `attention_dtype`
  at::ScalarType dtype;  ///< of the matrix products; the residual stream and norms stay wider
};

/// What all layers remember of a forest: `[layer][segment]`.
using DecoderCache = std::vector<LayerCache>;

/// The dtype in which attention runs: `compute`, but fp32 for bf16 on the CPU, where LibTorch's
/// fused attention for short sequences is several times slower backward in bf16 than in fp32.
at::ScalarType attention_dtype(at::ScalarType compute, at::Device device);

/// The dtype of the residual stream, the norms and the returned states when products run in
/// `compute`: fp64 for fp64, otherwise fp32.
at::ScalarType state_dtype(at::ScalarType compute);

/// @param compute  fp64, fp32 or bf16. @throws NotSupportedError for any other.
DecoderPlan make_plan(AttentionPlan attention, const DecoderConfig& config, at::ScalarType compute);

/// Plan for all tokens of a forest in one pass, on `device`.
DecoderPlan plan_decoder(const Segments& segments,
                         const DecoderConfig& config,
                         at::ScalarType compute,
                         at::Device device);

/// One block: x + attention(norm(x)), then x + swiglu(norm(x)).
///
/// @param x      (T, D) residual stream in `state_dtype(plan.dtype)`.
/// @param cache  keys and values by segment: empty entries for a whole forest in one pass.
/// @return       (T, D); differentiable in `x` and every weight, whatever dtype the weights are
/// kept in.
at::Tensor decoder_layer(const at::Tensor& x,
                         const LayerWeights& weights,
                         const DecoderConfig& config,
                         const DecoderPlan& plan,
                         LayerCache& cache);

/// RMS normalisation over the last dimension: x / rms(x) * weight.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

/// Token embedding, all blocks, final norm.
///
/// @param tokens  (T) int64 ids of the plan's new tokens.
/// @param cache   takes up keys and values: L layers of one entry a segment (`empty_cache`).
/// @return        (T, D) final-norm states in `state_dtype(plan.dtype)`.
/// @throws std::invalid_argument  if the weights are not of the configuration's number of layers.
at::Tensor decoder_states(const at::Tensor& tokens,
                          const DecoderWeights& weights,
                          const DecoderConfig& config,
                          const DecoderPlan& plan,
                          DecoderCache& cache);

DecoderCache empty_cache(const DecoderConfig& config, int64_t segments);

/// Next-token logits of some states, (n, V) in `state_dtype(compute)`; the product runs in
/// `compute`.
///
/// @param states  (n, D). @param head  (V, D): the token embedding where the two are tied.
at::Tensor head_logits(const at::Tensor& states, const at::Tensor& head, at::ScalarType compute);

/// The weights cast to `compute` where they enter a product (matrices and biases), once instead of
/// in every pass.
DecoderWeights cast_weights(const DecoderWeights& weights, at::ScalarType compute);

}  // namespace notellm
