#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "notellm/generation/decode.h"

namespace notellm::internal {

/// A running output that wants its next token.
struct Continued {
  TokenSpan prompt, output;
  double score;  ///< log p of the output, where beams are searched
  int64_t note;  ///< whose prompt it is, for messages
  std::span<const int64_t> banned;
};

struct TokenCandidate {
  int32_t token;
  double score;  ///< log p of the output with it, where beams are searched; otherwise 0
};

/// By running output: the tokens that it may go on with, as many as its search wants to see: the
/// best ones, or the one drawn. None where the grammar allows none.
///
/// @param logits  (n, V) of the running outputs, in order.
/// @throws DataError  if a row's largest is not finite.
std::vector<std::vector<TokenCandidate>> token_candidates(at::Tensor logits,
                                                          std::span<const Continued> outputs,
                                                          const DecodingOptions& options,
                                                          const OutputGrammar* grammar);

}  // namespace notellm::internal
