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
  double score;  ///< log p of the output, in beam search
  int64_t note;  ///< the note whose prompt it is, for messages
  std::span<const int64_t> banned;
};

struct TokenCandidate {
  int32_t token;
  double score;  ///< log p of the output with this token, in beam search; otherwise 0
};

/// By running output: the candidates for its next token, as many as `BeamSearch::candidates` asks
/// for: the best ones, or the one that was drawn. None if the grammar allows none.
///
/// @param logits  (n, V) of the running outputs, in order.
/// @throws DataError  if a row's largest is not finite.
std::vector<std::vector<TokenCandidate>> token_candidates(at::Tensor logits,
                                                          std::span<const Continued> outputs,
                                                          const DecodingOptions& options,
                                                          const OutputGrammar* grammar);

}  // namespace notellm::internal
