#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/options.h"
#include "notellm/prompts/prefix_forest.h"

namespace notellm {

/// The random number in [0, 1) by which one token is drawn. It depends only on the seed, the prompt
/// and the token's place in the output, so a sampled output does not depend on its batch or on the
/// other notes.
double uniform_of(uint64_t seed, TokenSpan prompt, int64_t place);

/// Repetition penalty (Keskar et al. 2019, as in `transformers`), in place: of tokens seen before,
/// positive logits are divided by the penalty and negative ones multiplied by it.
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

/// Draws one token per row by inverting the cumulative distribution: (n) int64, on the logits'
/// device, the first token at which the summed probabilities exceed the row's number. Tokens are
/// ordered by id, or, if top_k or top_p cuts some, by descending probability.
///
/// @param logits    (n, V) fp32 or fp64, at least one above -inf in every row.
/// @param uniforms  (n) in [0, 1).
/// @param options   temperature above 0.
at::Tensor draw_tokens(const at::Tensor& logits,
                       std::span<const double> uniforms,
                       const DecodingOptions& options);

}  // namespace notellm
