#include "tiles.h"

#include "tensors.h"

#include <limits>

#include "ops/on_kernels.h"

namespace notellm::internal {
namespace {

bool runs_on_cuda_loops(const at::Tensor& scores) {
  return scores.is_cuda() && runs_on_row_loops(scores);
}

// Calls `body(loops, Scalar{})` with the loops over tiles of the scores' dtype, fp64 or fp32.
template <typename Body>
void on_cuda_tiles(const at::Tensor& scores, const Body& body) {
  const c10::DeviceGuard guard(scores.device());
  const kernels::CudaTables& tables = *kernels::cuda_tables();
  scores.scalar_type() == at::kDouble ? body(tables.tiles_f64, double{})
                                      : body(tables.tiles_f32, float{});
}

void absorb_on_cuda(const at::Tensor& scores,
                    int64_t dim,
                    const at::Tensor& maxima,
                    const at::Tensor& sums) {
  const at::Tensor rows = scores.contiguous();
  on_cuda_tiles(scores, [&](const auto& loops, auto scalar) {
    using Scalar = decltype(scalar);
    const at::Device device = scores.device();
    const auto run = dim == 1 ? loops.absorb_rows : loops.absorb_columns;
    run({data<Scalar>(rows, device), rows.size(0), rows.size(1),
         mutable_data<Scalar>(maxima, device), mutable_data<Scalar>(sums, device)});
  });
}

// `scores` and `out` are contiguous.
void softmax_on_cuda(const at::Tensor& scores,
                     int64_t dim,
                     const at::Tensor& log_sums,
                     const at::Tensor& out) {
  const at::Tensor sums = log_sums.contiguous();
  on_cuda_tiles(scores, [&](const auto& loops, auto scalar) {
    using Scalar = decltype(scalar);
    const at::Device device = scores.device();
    loops.softmax(data<Scalar>(scores, device), data<Scalar>(sums, device), dim == 1,
                  scores.size(0), scores.size(1), mutable_data<Scalar>(out, device));
  });
}

}  // namespace

RunningLogSum::RunningLogSum(int64_t count, const at::TensorOptions& options)
    : maxima_(at::full({count}, std::numeric_limits<float>::lowest() / 2, options)),
      sums_(at::zeros({count}, options)) {}

void RunningLogSum::absorb(const at::Tensor& scores, int64_t dim, int64_t begin) {
  const int64_t count = scores.size(1 - dim);
  const at::Tensor maxima = maxima_.narrow(0, begin, count), sums = sums_.narrow(0, begin, count);
  if (runs_on_cuda_loops(scores)) return absorb_on_cuda(scores, dim, maxima, sums);
  const at::Tensor before = maxima.clone();
  maxima.copy_(at::maximum(before, scores.amax(dim)));
  sums.mul_((before - maxima).exp2_()).add_(tile_softmax(scores, dim, maxima).sum(dim));
}

at::Tensor RunningLogSum::log_sums() const { return maxima_ + sums_.log2(); }

at::Tensor tile_softmax(const at::Tensor& scores, int64_t dim, const at::Tensor& log_sums) {
  if (!runs_on_cuda_loops(scores)) return at::sub(scores, log_sums.unsqueeze(dim)).exp2_();
  const at::Tensor rows = scores.contiguous(), out = at::empty_like(rows);
  softmax_on_cuda(rows, dim, log_sums, out);
  return out;
}

void to_tile_softmax(at::Tensor& scores, int64_t dim, const at::Tensor& log_sums) {
  if (runs_on_cuda_loops(scores) && scores.is_contiguous())
    softmax_on_cuda(scores, dim, log_sums, scores);
  else
    scores.sub_(log_sums.unsqueeze(dim)).exp2_();
}

}  // namespace notellm::internal
