#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "notellm/ops/attention_layout.h"
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
  int64_t max_positions = 0;   ///< longest text the model was made for, in tokens; 0: no limit
  double norm_epsilon = 1e-5;
  RopeOptions rope;  ///< rope.head_dim is E; H * E need not be D
};

/// What all layers of a forward pass share: who attends to whom, and by which angles.
struct DecoderPlan {
  AttentionPlan attention;                             ///< for LibTorch's operations (no `layout`)
  std::shared_ptr<const AttentionLayout> layout;       ///< for the CPU loops, every token asks
  std::shared_ptr<const AttentionLayout> read_layout;  ///< the same for the last layer
  at::Tensor read_rows;  ///< int64: R tokens to be read, then `read_padding` others; or undefined
  int64_t tokens = 0;    ///< T
  int64_t padding = 0;   ///< tokens of no meaning behind them, so that products have few shapes
  int64_t read_padding = 0;  ///< how many of these are behind `read_rows`
  RopeTable rope;            ///< of all tokens, in `attention_dtype`; of slots if it reads a cache

  at::Tensor slots;          ///< int64: where a cache takes up keys and values; or undefined
  bool reads_cache = false;  ///< whether attention is over the cache, not over the new tokens

  at::ScalarType dtype;  ///< of the matrix products; the residual stream and norms stay wider

  std::optional<uint64_t> dropout_seed;  ///< of the adapters' dropout; none: no dropout
  at::Tensor dropout_keys;       ///< int64 on the CPU, by token: `prefix_keys`, 0 for the padding
  at::Tensor read_dropout_keys;  ///< the same by read row
};

/// The dtype in which attention runs: `compute`, but fp32 for bf16 on the CPU, where LibTorch's
/// fused attention for short sequences is several times slower backward in bf16 than in fp32.
at::ScalarType attention_dtype(at::ScalarType compute, at::Device device);

/// The dtype of the residual stream, the norms and the returned states when products run in
/// `compute`: fp64 for fp64, otherwise fp32.
at::ScalarType state_dtype(at::ScalarType compute);

/// Plan for all tokens of a forest in one pass, on `device`, without a cache.
///
/// @param read_rows  distinct tokens whose final states are wanted, in their order: of the last
///                   layer only these are computed (but for keys and values). Default: all.
/// @throws NotSupportedError  for another dtype; errors of `attention_layout`.
DecoderPlan plan_decoder(const Segments& segments,
                         const DecoderConfig& config,
                         at::ScalarType compute,
                         at::Device device,
                         std::optional<std::span<const int64_t>> read_rows = {});

/// The plan of a forest, `plan_decoder`'s, with dropout in the adapters: a function of the seed and
/// of what each token's path reads, wherever it is computed.
///
/// @param tokens  (T) ids of the forest's tokens.
/// @param seed    another one each step.
DecoderPlan with_dropout(DecoderPlan plan,
                         const Segments& segments,
                         std::span<const int64_t> tokens,
                         uint64_t seed);

}  // namespace notellm
