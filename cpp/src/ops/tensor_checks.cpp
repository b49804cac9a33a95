#include "tensor_checks.h"

#include "tensors.h"

#include <sstream>
#include <string>
#include <utility>

#include "notellm/ops/dtypes.h"
#include "notellm/util/check.h"

namespace notellm::internal {
namespace {

using Sizes = std::initializer_list<int64_t>;

bool has_sizes(const at::Tensor& x, Sizes sizes) {
  if (x.dim() != static_cast<int64_t>(sizes.size())) return false;
  int64_t d = 0;
  for (const int64_t size : sizes) {
    if (size != kAny && x.size(d) != size) return false;
    ++d;
  }
  return true;
}

// "(4, *)"
std::string text_of(Sizes sizes) {
  std::ostringstream text;
  const char* before = "(";
  for (const int64_t size : sizes) {
    text << std::exchange(before, ", ");
    size == kAny ? text << '*' : text << size;
  }
  text << (sizes.size() == 0 ? "()" : ")");
  return text.str();
}

// "float32 [4, 32] on cpu"
std::string text_of(const at::Tensor& x) {
  if (!x.defined()) return "missing";
  std::ostringstream text;
  text << name_of(x.scalar_type()) << ' ' << x.sizes() << " on " << x.device();
  if (x.layout() != at::kStrided) text << ", " << x.layout();
  return text.str();
}

bool holds_numbers(const at::Tensor& x, Sizes sizes) {
  return x.defined() && x.layout() == at::kStrided && !x.is_meta() && has_sizes(x, sizes);
}

[[noreturn]] void refuse(std::string_view where,
                         std::string_view name,
                         const at::Tensor& x,
                         Sizes sizes,
                         std::string_view kind) {
  throw_error<std::invalid_argument>(where, name, " must be ", text_of(sizes), kind, ", but is ",
                                     text_of(x));
}

}  // namespace

void check_shape(std::string_view where, std::string_view name, const at::Tensor& x, Sizes sizes) {
  if (!holds_numbers(x, sizes)) refuse(where, name, x, sizes, " numbers");
}

void check_tensor(std::string_view where,
                  std::string_view name,
                  const at::Tensor& x,
                  Sizes sizes,
                  at::ScalarType dtype) {
  if (holds_numbers(x, sizes) && x.scalar_type() == dtype) return;
  refuse(where, name, x, sizes, std::string(" of ").append(name_of(dtype)));
}

void check_floating(std::string_view where,
                    std::string_view name,
                    const at::Tensor& x,
                    Sizes sizes) {
  if (holds_numbers(x, sizes) && x.is_floating_point()) return;
  refuse(where, name, x, sizes, " of a floating-point dtype");
}

void check_device(std::string_view where,
                  std::string_view name,
                  const at::Tensor& x,
                  at::Device device) {
  if (x.device() == device) return;
  throw_error<std::invalid_argument>(where, name, " must be on ", device, ", but is on ",
                                     x.device());
}

void check_indices(std::string_view where,
                   std::string_view name,
                   const at::Tensor& x,
                   int64_t size,
                   int64_t limit) {
  check_tensor(where, name, x, {size}, at::kLong);
  if (!x.is_cpu() || x.numel() == 0) return;
  const int64_t low = x.min().item<int64_t>(), high = x.max().item<int64_t>();
  if (low >= 0 && high < limit) return;
  throw_error<std::out_of_range>(where, name, " must be in [0, ", limit, "), but are in [", low,
                                 ", ", high, "]");
}

}  // namespace notellm::internal
