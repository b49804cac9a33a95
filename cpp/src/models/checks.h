#pragma once

#include <cstdint>
#include <span>

#include "notellm/models/model_weights.h"
#include "notellm/prompts/tokens.h"

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

/// Prompts that are to be read one by one, each with `added` further tokens.
///
/// @param what           what is read, for the message: "a prompt".
/// @param max_positions  the model's context length in tokens; 0: no limit.
void check_context(const char* where,
                   const char* what,
                   const TokenLists& prompts,
                   int64_t added,
                   int64_t max_positions);

}  // namespace notellm::internal
