#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "notellm/models/plan.h"
#include "notellm/models/weight_storage.h"
#include "notellm/ops/segment_attention.h"

namespace notellm {

/// What LoRA (Hu et al. 2021) adds to a matrix W of a block: scale * up down. Undefined: nothing.
struct Adapter {
  at::Tensor down;   ///< A: (r, in)
  at::Tensor up;     ///< B: (out, r)
  double scale = 1;  ///< alpha / r
};

/// The adapters of one block, named as its matrices.
struct LayerAdapters {
  Adapter query, key, value, output, gate, up, down;
  double dropout = 0;  ///< share of the adapters' inputs that is dropped where the plan has a seed
  int64_t layer = 0;   ///< number of the block, by which its dropout masks differ from others'
};

/// Weights of one block; matrices are (out, in) as in torch. A part that a model lacks is
/// undefined.
struct LayerWeights {
  at::Tensor input_norm;                        ///< (D)
  at::Tensor query, key, value;                 ///< (H E, D), (K E, D), (K E, D)
  at::Tensor query_bias, key_bias, value_bias;  ///< (H E), (K E), (K E): Qwen2, some of Llama's kin
  at::Tensor query_norm, key_norm;  ///< (E): Qwen3 normalises every head before the rotation
  at::Tensor output, output_bias;   ///< (D, H E), (D)
  at::Tensor post_norm;             ///< (D), before the feed-forward block
  at::Tensor gate, up, down;        ///< (inner, D), (inner, D), (D, inner)
  at::Tensor gate_bias, up_bias, down_bias;  ///< (inner), (inner), (D)
  LayerAdapters adapters;                    ///< beside the matrices above

  /// What `prepare_weights` makes: the matrices above as the products want them, in the compute
  /// dtype, those of one input side by side. Undefined in training: made from the above each pass.
  at::Tensor packed, packed_bias;    ///< ((H + 2 K) E, D) and ((H + 2 K) E)
  at::Tensor gate_up, gate_up_bias;  ///< (2 inner, D) and (2 inner)

  /// Where `prepare_weights` made the matrices int8: what each of their rows is multiplied by.
  struct Scales {
    at::Tensor packed, output, gate_up, down;  ///< (out) fp32; undefined otherwise
  } scales;
};

/// Weights of a whole decoder. The head is kept apart: embedding never needs it.
struct DecoderWeights {
  at::Tensor embedding;  ///< (V, D)
  std::vector<LayerWeights> layers;
  at::Tensor norm;  ///< (D)
};

/// One block: x + attention(norm(x)), then x + swiglu(norm(x)).
///
/// @param x        (T, D) residual stream in `state_dtype(plan.dtype)`, or what the block before
///                 returned: behind T rows it may have the plan's padding.
/// @param is_last  whether only the plan's read rows leave this block.
/// @param cache    (slots, 2 K E) keys, not rotated, and values side by side in the compute dtype:
///                 takes up those of the plan's slots, and is read if the plan says so; null
///                 without one. Without gradients only.
/// @return         of the last block (T, D), or (R, D) of the read rows; of another as many rows as
///                 the next one takes. Differentiable in `x` and every weight, whatever dtype the
///                 weights are kept in.
/// @throws std::invalid_argument  if `x` has another number of rows.
at::Tensor decoder_layer(const at::Tensor& x,
                         const LayerWeights& weights,
                         const DecoderConfig& config,
                         const DecoderPlan& plan,
                         bool is_last = false,
                         const at::Tensor* cache = nullptr);

/// Token embedding, all blocks, final norm.
///
/// @param tokens  (T) int64 ids of the plan's new tokens.
/// @param cache   by layer, as `decoder_layer` wants it (`models/cache.h`); null without one.
/// @return        final-norm states in `state_dtype(plan.dtype)`: (T, D), or (R, D) of the plan's
///                read rows.
/// @throws std::invalid_argument  if the weights are not of the configuration's number of layers.
at::Tensor decoder_states(const at::Tensor& tokens,
                          const DecoderWeights& weights,
                          const DecoderConfig& config,
                          const DecoderPlan& plan,
                          const std::vector<at::Tensor>* cache = nullptr);

/// Next-token logits of some states, (n, V) in `state_dtype(compute)`; the product runs in
/// `compute`.
///
/// @param states  (n, D). @param head  (V, D): the token embedding where the two are tied.
at::Tensor head_logits(const at::Tensor& states, const at::Tensor& head, at::ScalarType compute);

/// The weights as the products of `compute` want them, once instead of in every pass: adapters
/// merged into their matrices, cast, and matrices of one input side by side. Embedding table, norms
/// and biases keep their dtype.
///
/// With kInt8 the matrices have no gradient, and each pass widens one at a time.
/// @throws std::invalid_argument  for kInt8, if a weight is not finite.
DecoderWeights prepare_weights(const DecoderWeights& weights,
                               at::ScalarType compute,
                               WeightStorage storage = WeightStorage::kSame);

/// Bytes of the blocks' matrices (and their scales) in prepared weights.
int64_t matrix_bytes(const DecoderWeights& prepared);

}  // namespace notellm
