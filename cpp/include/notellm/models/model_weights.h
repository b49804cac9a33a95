#pragma once

#include <ATen/core/Tensor.h>

#include "notellm/models/decoder.h"

namespace notellm {

/// A decoder with its LM head and its projection, as embedding and generation need it. The tensors
/// are shared with the caller, not copied.
struct ModelWeights {
  DecoderConfig config;
  DecoderWeights weights;
  at::Tensor head;        ///< (V, D) LM head; the token embedding where the two are tied
  at::Tensor projection;  ///< (d, D) from states to embeddings; undefined: states are embeddings

  at::Device device() const { return weights.embedding.device(); }
};

}  // namespace notellm
