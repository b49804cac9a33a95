#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/options.h"
#include "notellm/prompts/prefix_forest.h"

namespace notellm {

/// A number in [0, 1), of which the draw of one token is a function: of the seed, the prompt and
/// the token's place in the output. So an output depends neither on its batch nor on its pool.
double uniform_of(uint64_t seed, TokenSpan prompt, int64_t place);

/// Divides positive logits of tokens that were there before by the penalty and multiplies negative
/// ones with it (Keskar et al. 2019, as in `transformers`), in place.
///
/// @param logits   (n, V). @param seen  (n) distinct tokens, by row.
/// @param penalty  above 0; 1 changes nothing.
void penalise_repetition(at::Tensor& logits,
                         std::span<const std::vector<int32_t>> seen,
                         double penalty);

/// (n, V) the logits with -inf for every token that is not allowed.
///
/// @param allowed  (n) distinct tokens, by row.
at::Tensor keep_allowed(const at::Tensor& logits, std::span<const std::vector<int32_t>> allowed);

/// (n) int64, on the logits' device: the token of each row at which the summed probabilities exceed
/// its number; tokens come in their order, or where some are cut by top_k or top_p, descending by
/// probability.
///
/// @param logits    (n, V) fp32 or fp64, one above -inf in every row.
/// @param uniforms  (n) in [0, 1).
/// @param options   temperature above 0.
at::Tensor draw_tokens(const at::Tensor& logits,
                       std::span<const double> uniforms,
                       const DecodingOptions& options);

}  // namespace notellm
