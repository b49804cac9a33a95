#include "rounding.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include "tensors.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>

#include "autograd/recorded_step.h"
#include "on_kernels.h"

namespace notellm::internal {
namespace {

using kernels::Bf16;

constexpr int64_t kAtOnce = 16384;  // numbers that a thread takes at a time

// Whether the loops can treat the tensor as one row of numbers in memory, in any order.
bool is_a_row(const at::Tensor& x) {
  return runs_on_kernels(x) && x.is_non_overlapping_and_dense();
}

template <typename From, typename To>
using Loop = void (*)(const From*, int64_t, To*);

template <typename From, typename To>
void run(Loop<From, To> loop, const at::Tensor& x, const at::Tensor& out) {
  const RecordedStep record("notellm::round");
  const From* from = data<From>(x);
  To* to = mutable_data<To>(out);
  at::parallel_for(0, x.numel(), kAtOnce, [&](int64_t begin, int64_t end) {
    loop(from + begin, end - begin, to + begin);
  });
}

// Asks for large pages for fresh memory that malloc has just mapped: touching it for the first time
// in pages of 4 KiB would take longer than rounding.
void prefer_large_pages([[maybe_unused]] const at::Tensor& fresh) {
#ifdef MADV_HUGEPAGE
  constexpr std::size_t kMapped = std::size_t{32} << 20, kPage = std::size_t{2} << 20;
  if (fresh.nbytes() < kMapped) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(fresh.mutable_data_ptr());
  const std::uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = (begin + fresh.nbytes()) / kPage * kPage;
  madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // it may be ignored
#endif
}

// Avoids the dispatcher, which would take as long as rounding a row.
at::Tensor empty_like(const at::Tensor& x, at::ScalarType dtype) {
  const at::Tensor fresh = at::detail::empty_strided_cpu(x.sizes(), x.strides(), dtype);
  prefer_large_pages(fresh);
  return fresh;
}

}  // namespace

at::Tensor widened(const at::Tensor& x) {
  const at::AutoDispatchBelowAutograd no_graph;
  if (x.scalar_type() != at::kBFloat16 || !is_a_row(x)) return x.to(at::kFloat);
  const at::Tensor out = empty_like(x, at::kFloat);
  run(kernels::tables().bf16.convert_back, x, out);
  return out;
}

at::Tensor narrowed(const at::Tensor& x) {
  const at::AutoDispatchBelowAutograd no_graph;
  if (x.scalar_type() != at::kFloat || !is_a_row(x)) return x.to(at::kBFloat16);
  const at::Tensor out = empty_like(x, at::kBFloat16);
  run(kernels::tables().bf16.convert, x, out);
  return out;
}

at::Tensor rounded(const at::Tensor& x) {
  const at::AutoDispatchBelowAutograd no_graph;
  if (x.scalar_type() != at::kFloat || !is_a_row(x)) return x.to(at::kBFloat16).to(at::kFloat);
  const at::Tensor out = empty_like(x, at::kFloat);
  run(kernels::tables().bf16.round, x, out);
  return out;
}

void round_in_place(at::Tensor& x) {
  const at::AutoDispatchBelowAutograd no_graph;
  if (x.scalar_type() != at::kFloat || !is_a_row(x)) {
    x.copy_(x.to(at::kBFloat16));
  } else {
    run(kernels::tables().bf16.round, x, x);
  }
}

}  // namespace notellm::internal
