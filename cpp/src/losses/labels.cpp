#include "labels.h"

#include "tensors.h"

#include "notellm/ops/on_device.h"
#include "notellm/util/check.h"
#include "ops/tensor_checks.h"

namespace notellm::internal {
namespace {

// (n) int64: output tokens of each note.
at::Tensor label_counts(std::string_view where, const at::Tensor& label_offsets, int64_t labels) {
  if (!label_offsets.defined() || label_offsets.dim() != 1 || label_offsets.numel() < 1 ||
      label_offsets.scalar_type() != at::kLong || !label_offsets.is_cpu()) {
    throw_error<std::invalid_argument>(where,
                                       "label_offsets must be (n + 1) int64 on the CPU, but are ",
                                       label_offsets.toString(), " ", label_offsets.sizes());
  }
  const at::Tensor counts = label_offsets.diff();
  if (label_offsets[0].item<int64_t>() != 0 || label_offsets[-1].item<int64_t>() != labels ||
      (counts < 0).any().item<bool>()) {
    throw_error<std::invalid_argument>(where,
                                       "label_offsets must ascend from 0 to the number of labels, ",
                                       labels, ", but are ", label_offsets);
  }
  return counts;
}

}  // namespace

void check_labels(std::string_view where, const at::Tensor& labels, int64_t vocabulary) {
  check_tensor(where, "labels", labels, {kAny}, at::kLong);
  if (labels.numel() == 0) return;
  const int64_t low = labels.min().item<int64_t>();
  const int64_t high = labels.max().item<int64_t>();
  if (low < 0 || high >= vocabulary) {
    throw_error<std::out_of_range>(where, "labels must be in [0, ", vocabulary, "), but are in [",
                                   low, ", ", high, "]");
  }
}

LabelWeights label_weights(std::string_view where,
                           const at::Tensor& label_offsets,
                           int64_t labels,
                           CsftReduction reduction,
                           const at::TensorOptions& options) {
  const at::Tensor counts = label_counts(where, label_offsets, labels);
  if (reduction == CsftReduction::kToken) return {at::ones({labels}, options), labels};
  const at::Tensor by_note = 1.0 / counts.to(options.dtype());
  return {on_device(by_note.repeat_interleave(counts), options.device()),
          (counts > 0).sum().item<int64_t>()};
}

at::Tensor weighted_cross_entropy(const at::Tensor& logits,
                                  const at::Tensor& labels,
                                  const at::Tensor& weights) {
  const at::Tensor losses =
      logits.logsumexp(1) - logits.gather(1, labels.unsqueeze(1)).squeeze(1);  // (M)
  return (losses * weights).sum();
}

}  // namespace notellm::internal
