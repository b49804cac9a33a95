#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "notellm/losses/csft.h"

namespace notellm::internal {

/// @throws std::out_of_range  if a label is outside [0, vocabulary).
void check_labels(std::string_view where, const at::Tensor& labels, int64_t vocabulary);

/// The weight of every label in the sum, and the count that the sum is divided by.
struct LabelWeights {
  at::Tensor weights;  ///< (M)
  int64_t count = 0;   ///< of notes with an output, or of tokens
};

/// @param label_offsets  (n + 1) as in `csft_loss`, for `labels` labels.
/// @param options        dtype and device of the weights.
/// @throws std::invalid_argument  if the offsets do not match.
LabelWeights label_weights(std::string_view where,
                           const at::Tensor& label_offsets,
                           int64_t labels,
                           CsftReduction reduction,
                           const at::TensorOptions& options);

/// () The weighted sum of -log softmax(logits) at the labels, by composed ATen operations.
at::Tensor weighted_cross_entropy(const at::Tensor& logits,
                                  const at::Tensor& labels,
                                  const at::Tensor& weights);

}  // namespace notellm::internal
