#include "tiles.h"

#include "tensors.h"

#include <limits>

namespace notellm::internal {

RunningLogSum::RunningLogSum(int64_t count, const at::TensorOptions& options)
    : maxima_(at::full({count}, std::numeric_limits<float>::lowest() / 2, options)),
      sums_(at::zeros({count}, options)) {}

void RunningLogSum::absorb(const at::Tensor& scores, int64_t dim, int64_t begin) {
  const int64_t count = scores.size(1 - dim);
  const at::Tensor maxima = maxima_.narrow(0, begin, count), sums = sums_.narrow(0, begin, count);
  const at::Tensor before = maxima.clone();
  maxima.copy_(at::maximum(before, scores.amax(dim)));
  sums.mul_((before - maxima).exp2_()).add_(tile_softmax(scores, dim, maxima).sum(dim));
}

at::Tensor RunningLogSum::log_sums() const { return maxima_ + sums_.log2(); }

at::Tensor tile_softmax(const at::Tensor& scores, int64_t dim, const at::Tensor& log_sums) {
  return at::sub(scores, log_sums.unsqueeze(dim)).exp2_();
}

}  // namespace notellm::internal
