#include "notellm/losses/csft.h"

#include <ATen/ATen.h>

#include "notellm/util/check.h"

namespace notellm {
namespace {

void check_labels(const at::Tensor& logits, const at::Tensor& labels) {
  constexpr const char* where = "csft_loss";
  if (logits.dim() != 2 || labels.dim() != 1 || labels.size(0) != logits.size(0)) {
    internal::throw_error<std::invalid_argument>(where,
                                                 "logits must be (M, V) and labels (M), but are ",
                                                 logits.sizes(), " and ", labels.sizes());
  }
  if (labels.numel() == 0) return;
  const int64_t low = labels.min().item<int64_t>();
  const int64_t high = labels.max().item<int64_t>();
  if (low < 0 || high >= logits.size(1)) {
    internal::throw_error<std::out_of_range>(where, "labels must be in [0, ", logits.size(1),
                                             "), but are in [", low, ", ", high, "]");
  }
}

// (n) int64: output tokens of each note.
at::Tensor label_counts(const at::Tensor& label_offsets, int64_t labels) {
  constexpr const char* where = "csft_loss";
  if (label_offsets.dim() != 1 || label_offsets.numel() < 1 ||
      label_offsets.scalar_type() != at::kLong || !label_offsets.is_cpu()) {
    internal::throw_error<std::invalid_argument>(
        where, "label_offsets must be (n + 1) int64 on the CPU, but are ", label_offsets.toString(),
        " ", label_offsets.sizes());
  }
  const at::Tensor counts = label_offsets.diff();
  if (label_offsets[0].item<int64_t>() != 0 || label_offsets[-1].item<int64_t>() != labels ||
      (counts < 0).any().item<bool>()) {
    internal::throw_error<std::invalid_argument>(
        where, "label_offsets must ascend from 0 to the number of labels, ", labels, ", but are ",
        label_offsets);
  }
  return counts;
}

}  // namespace

LossTerm csft_loss(const at::Tensor& logits,
                   const at::Tensor& labels,
                   const at::Tensor& label_offsets,
                   CsftReduction reduction) {
  check_labels(logits, labels);
  const at::Tensor counts = label_counts(label_offsets, labels.size(0));
  const at::Tensor losses =
      logits.logsumexp(1) - logits.gather(1, labels.unsqueeze(1)).squeeze(1);  // (M)
  if (reduction == CsftReduction::kToken) return {losses.sum(), labels.size(0)};
  const at::Tensor weights =
      (1.0 / counts.to(logits.scalar_type())).repeat_interleave(counts);  // (M)
  return {(losses * weights.to(losses.device())).sum(), (counts > 0).sum().item<int64_t>()};
}

}  // namespace notellm
