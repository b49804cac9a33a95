#pragma once

#include <cstdint>
#include <span>

#include "notellm/models/model_weights.h"

/// What the decoder's functions require of their arguments before anything is computed: comparisons
/// of sizes and dtypes, none of which reads a weight. All throw std::invalid_argument.
namespace notellm::internal {

void check_config(const char* where, const DecoderConfig& config);

/// One block's weights, given or prepared, by the names of `LayerWeights`.
void check_layer(const char* where,
                 const LayerWeights& weights,
                 const DecoderConfig& config,
                 at::Device device);

/// The same of matrices that are to be laid side by side, where no configuration says their sizes.
void check_matrices(const char* where, const LayerWeights& weights, const at::Tensor& embedding);

/// Embedding table, number of blocks and final norm; not the blocks, which `decoder_layer` checks.
void check_decoder(const char* where, const DecoderWeights& weights, const DecoderConfig& config);

/// All of a model, blocks included.
void check_model(const char* where, const ModelWeights& model);

/// Ids that a prompt is made of.
/// @throws std::out_of_range  if one is not in [0, vocabulary).
void check_tokens(const char* where, std::span<const int32_t> tokens, int64_t vocabulary);

}  // namespace notellm::internal
