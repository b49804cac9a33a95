#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "notellm/ops/dtypes.h"
#include "notellm/ops/kernel_attention_plan.h"
#include "notellm/ops/rope.h"
#include "notellm/ops/segment_attention.h"

namespace notellm {

/// Shape of a Llama-family decoder: pre-norm blocks, rotary positions, grouped-query attention,
/// SwiGLU.
struct DecoderConfig {
  int64_t width = 576;         ///< D
  int64_t inner_width = 1536;  ///< width of the feed-forward block
  int64_t layers = 30;         ///< L
  int64_t heads = 9;           ///< H
  int64_t key_heads = 3;       ///< K, divides H
  int64_t vocabulary = 49152;  ///< V, rows of the token embedding
  int64_t max_positions = 0;   ///< the model's context length in tokens; 0: no limit
  double norm_epsilon = 1e-5;
  RopeOptions rope;  ///< rope.head_dim is E; H * E need not be D
};

/// What all layers of a forward pass share: which token attends to which, and the rotary angles.
struct DecoderPlan {
  /// For LibTorch's operations; not used where there is a `kernel_attention`.
  ComposedAttentionPlan composed_attention;
  /// For the CPU loops; every token is a query.
  std::shared_ptr<const KernelAttentionPlan> kernel_attention;
  /// The same for the last layer, whose queries are the read rows only.
  std::shared_ptr<const KernelAttentionPlan> kernel_read_attention;
  at::Tensor read_rows;  ///< int64: the R tokens to read, then `read_padding` others; or undefined
  at::Tensor host_read_rows;  ///< the same on the CPU
  int64_t tokens = 0;         ///< T
  int64_t padding = 0;        ///< padding tokens behind them: matrix products then have few shapes
  int64_t read_padding = 0;   ///< how many padding tokens are at the end of `read_rows`
  RopeTable rope;             ///< by token, in `attention_dtype`; by slot if `reads_cache`

  at::Tensor slots;          ///< int64: cache slots to write keys and values to; or undefined
  bool reads_cache = false;  ///< whether attention reads the cache instead of the new tokens

  at::ScalarType dtype;  ///< of matrix products; residual stream and norms: `wide_dtype`

  std::optional<uint64_t> dropout_seed;  ///< of the adapters' dropout; none: no dropout
  at::Tensor dropout_keys;       ///< int64 on the CPU, by token: `prefix_keys`; 0 for padding
  at::Tensor read_dropout_keys;  ///< the same, by read row
};

/// The dtype in which attention runs: `compute`, but fp32 for bf16 on the CPU, where LibTorch's
/// fused attention for short sequences is several times slower backward in bf16 than in fp32.
at::ScalarType attention_dtype(at::ScalarType compute, at::Device device);

/// Plan for all tokens of a forest in one pass, on `device`, without a cache.
///
/// @param read_rows  distinct tokens whose final states are wanted, in the order wanted: the last
///                   layer computes only these (apart from keys and values). Default: all.
/// Under `no_grad` the plan may be one that serves without gradients only.
/// @throws std::invalid_argument  for another dtype, or a sequence that is longer than the model's
///                                context; errors of `plan_kernel_attention`.
DecoderPlan plan_decoder(const Segments& segments,
                         const DecoderConfig& config,
                         at::ScalarType compute,
                         at::Device device,
                         std::optional<std::span<const int64_t>> read_rows = {});

/// Adds dropout in the adapters to a plan made by `plan_decoder`. The masks depend only on the seed
/// and on the token ids from the root to each token, not on the batch.
///
/// @param tokens  (T) ids of the forest's tokens.
/// @param seed    must be a new one for each step.
DecoderPlan with_dropout(DecoderPlan plan,
                         const Segments& segments,
                         std::span<const int64_t> tokens,
                         uint64_t seed);

}  // namespace notellm
