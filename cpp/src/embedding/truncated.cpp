#include "notellm/embedding/truncated.h"

#include "tensors.h"

#include "notellm/util/check.h"
#include "ops/tensor_checks.h"

namespace notellm {

at::Tensor truncated(const at::Tensor& vectors, int64_t dim) {
  internal::check_floating("truncated", "vectors", vectors, {internal::kAny, internal::kAny});
  internal::require(1 <= dim && dim <= vectors.size(1), "truncated", "dim must be in [1, ",
                    vectors.size(1), "], the vectors' width, but is ", dim);
  if (dim == vectors.size(1)) return vectors;
  const at::Tensor first = vectors.narrow(1, 0, dim);  // (n, dim)
  return first / first.norm(2, {1}, true).clamp_min(1e-12);
}

}  // namespace notellm
