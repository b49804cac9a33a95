#pragma once

#include <ATen/core/Tensor.h>

#include "notellm/models/decoder.h"

namespace notellm {

/// A decoder with what reads its states: what embedding and generation take. The tensors are those
/// of whoever made it, not copies.
struct LanguageModel {
  DecoderConfig config;
  DecoderWeights weights;
  at::Tensor head;        ///< (V, D) of the LM head; the token embedding where the two are tied
  at::Tensor projection;  ///< (d, D) from states to embeddings; undefined: a state is the embedding

  at::Device device() const { return weights.embedding.device(); }
};

}  // namespace notellm
