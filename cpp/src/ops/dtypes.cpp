#include "notellm/ops/dtypes.h"

#include "notellm/util/check.h"

namespace notellm::internal {

std::string_view name_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return "float64";
    case at::kFloat:
      return "float32";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kChar:
      return "int8";
    default:
      return c10::toString(dtype);
  }
}

void check_compute_dtype(std::string_view where, at::ScalarType dtype) {
  require(dtype == at::kDouble || dtype == at::kFloat || dtype == at::kBFloat16, where,
          "the dtype must be float64, float32 or bfloat16, but is ", name_of(dtype));
}

}  // namespace notellm::internal
