#pragma once

#include <ATen/core/Tensor.h>

#include "notellm/models/decoder.h"
#include "notellm/prompts/template.h"
#include "notellm/prompts/tokens.h"

namespace notellm {

/// What generation reads: a model, its prompts and the notes. It refers to them and owns nothing.
struct GenerationInput {
  const DecoderWeights& weights;
  const at::Tensor& head;  ///< (V, D) of the LM head; the token embedding where the two are tied
  const DecoderConfig& config;
  const PromptSet& prompts;
  const TokenizedNotes& notes;
};

}  // namespace notellm
