#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "notellm/models/plan.h"
#include "notellm/models/weight_storage.h"
#include "notellm/ops/segment_attention.h"

namespace notellm {

/// What LoRA (Hu et al. 2021) adds to a matrix W of a block: scale * up down. Nothing is added if
/// they are undefined.
struct Adapter {
  at::Tensor down;   ///< A: (r, in)
  at::Tensor up;     ///< B: (out, r)
  double scale = 1;  ///< alpha / r
};

/// The adapters of one block, named like its matrices.
struct LayerAdapters {
  Adapter query, key, value, output, gate, up, down;
  double dropout = 0;  ///< share of the adapters' inputs that is dropped if the plan has a seed
  int64_t layer = 0;   ///< number of the block: each has its own dropout masks
};

/// Weights of one block; matrices are (out, in) as in torch. Parts that a model does not have are
/// undefined.
struct LayerWeights {
  at::Tensor input_norm;                        ///< (D)
  at::Tensor query, key, value;                 ///< (H E, D), (K E, D), (K E, D)
  at::Tensor query_bias, key_bias, value_bias;  ///< (H E), (K E), (K E): Qwen2, some Llama variants
  at::Tensor query_norm, key_norm;  ///< (E): Qwen3 normalises every head before the rotation
  at::Tensor output, output_bias;   ///< (D, H E), (D)
  at::Tensor post_norm;             ///< (D), before the feed-forward block
  at::Tensor gate, up, down;        ///< (inner, D), (inner, D), (D, inner)
  at::Tensor gate_bias, up_bias, down_bias;  ///< (inner), (inner), (D)
  LayerAdapters adapters;                    ///< added to the matrices above

  /// Made by `prepare_weights`: the matrices above in the compute dtype, those with the same input
  /// joined into one. Undefined in training, where every pass makes them from the matrices above.
  at::Tensor packed, packed_bias;    ///< ((H + 2 K) E, D) and ((H + 2 K) E)
  at::Tensor gate_up, gate_up_bias;  ///< (2 inner, D) and (2 inner)

  /// If `prepare_weights` quantised the matrices to int8: the scale of each row.
  struct Scales {
    at::Tensor packed, output, gate_up, down;  ///< (out) fp32; undefined otherwise
  } scales;
};

/// Weights of a whole decoder. The LM head is kept apart: embedding never needs it.
struct DecoderWeights {
  at::Tensor embedding;  ///< (V, D)
  std::vector<LayerWeights> layers;
  at::Tensor norm;  ///< (D)
};

/// One block: x + attention(norm(x)), then x + swiglu(norm(x)).
///
/// @param x        (T, D) residual stream in `wide_dtype(plan.dtype)`, or what the block before
///                 returned, which may have the plan's padding behind its T rows.
/// @param is_last  whether this is the last block, which returns only the plan's read rows.
/// @param cache    (slots, 2 K E) keys (not rotated) and values side by side in the compute dtype,
///                 or null. New keys and values are written to the plan's slots; attention reads
///                 the cache if `plan.reads_cache`. Only without gradients.
/// @return         from the last block (T, D), or (R, D) for the read rows; from any other the
///                 input of the next block. Differentiable in `x` and every weight, whatever the
///                 dtype of the weights.
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
/// @param cache   one tensor per layer, as in `decoder_layer` (`models/cache.h`), or null.
/// @return        hidden states after the final norm in `wide_dtype(plan.dtype)`: (T, D), or
///                (R, D) for the plan's read rows.
/// @throws std::invalid_argument  if the number of layers in `weights` is not the configuration's.
at::Tensor decoder_states(const at::Tensor& tokens,
                          const DecoderWeights& weights,
                          const DecoderConfig& config,
                          const DecoderPlan& plan,
                          const std::vector<at::Tensor>* cache = nullptr);

/// Next-token logits of some states, (n, V) in `wide_dtype(compute)`; the matrix product runs in
/// `compute`.
///
/// @param states  (n, D). @param head  (V, D): the token embedding where the two are tied.
at::Tensor head_logits(const at::Tensor& states, const at::Tensor& head, at::ScalarType compute);

/// Prepares the weights for inference once instead of in every pass: adapters are merged into their
/// matrices, matrices are cast to `compute`, and those with the same input are joined into one. The
/// embedding table, norms and biases keep their dtype.
///
/// With kInt8 the matrices have no gradient, and each pass dequantises one matrix at a time.
/// @throws std::invalid_argument  for kInt8, if a weight is not finite.
DecoderWeights prepare_weights(const DecoderWeights& weights,
                               at::ScalarType compute,
                               WeightStorage storage = WeightStorage::kSame);

/// Bytes of the blocks' matrices (and their scales) in prepared weights.
int64_t matrix_bytes(const DecoderWeights& prepared);

}  // namespace notellm
